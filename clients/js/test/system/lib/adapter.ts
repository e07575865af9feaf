// A Durable Streams server made of Ackwire: each URL is a job with one stream. PUT submits the job, whose endpoint is this
// server, too; what writes goes to the write side of the job's run, and what reads goes to the gateway. Answers are passed
// on as they are, but for Location.
//
// What crosses Kafka is a moment later at the gateway: a write is answered here when readers see it. A gateway tells that
// a stream has ended when its job has: so a job is ended when its stream was closed and somebody reads. DELETE cancels it.

import { createServer, request, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { until } from "./process.js";

/** The job type whose handler the adapter is. */
export const type = "streams.conform";
const stream = "s";
/** No job has this ID. */
const nobody = "00000000-0000-7000-8000-000000000000";

/** The job of a URL. */
interface Job {
  id: string;
  streams: string; // the write side of its run
  callback: string;
  readers: number; // reads that are being answered
  closed: boolean; // by its writer
  ended: Promise<void> | undefined;
}

/** An answer that was read. */
interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

export class Adapter {
  url = "";
  /** How many streams were to be created that can be no stream of a job: a test that is not left out makes none. */
  impossible = 0;
  private readonly jobs = new Map<string, Promise<Job>>();
  /** Runs whose handlers were called, by what they were called for. */
  private readonly runs = new Map<string, (headers: IncomingHttpHeaders) => void>();
  private readonly server = createServer((q, r) => {
    this.serve(q, r).catch((e: unknown) => {
      if (r.headersSent) r.destroy();
      else r.writeHead(500, { "content-type": "text/plain" }).end(String(e));
    });
  });
  private stranger: Job | undefined; // a job without streams
  private made = 0;

  constructor(private readonly gateway: () => string) {}

  /** Listens, so that a worker can be started with the adapter as its handler. */
  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    await this.endAll();
    await this.stranger?.ended;
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Ends the jobs of all URLs, as if they had never been. */
  async endAll(): Promise<void> {
    const all = [...this.jobs.values()];
    this.jobs.clear();
    await Promise.all(all.map(async (job) => this.end(await job)));
  }

  private async serve(q: IncomingMessage, r: ServerResponse): Promise<void> {
    const url = new URL(q.url ?? "/", this.url);
    if (url.pathname === "/handler") {
      const name = JSON.parse((await read(q)).toString()) as string;
      r.writeHead(202).end();
      this.runs.get(name)?.(q.headers);
      return;
    }
    const at = url.pathname;
    switch (q.method) {
      case "PUT": {
        const had = this.jobs.get(at);
        const made = had ?? this.submit();
        this.jobs.set(at, made);
        const answer = await this.write(q, await made, url);
        if (answer.status === 415) this.impossible++;
        if (!had && answer.status >= 400) { // there is no stream, and so no job
          this.jobs.delete(at);
          await this.end(await made);
        }
        return pass(answer, r);
      }
      case "POST": {
        this.stranger ??= await this.submit();
        return pass(await this.write(q, (await this.jobs.get(at)) ?? this.stranger, url), r);
      }
      case "DELETE": {
        const job = await this.jobs.get(at);
        this.jobs.delete(at);
        if (job?.ended) { // it cannot be cancelled any more
          r.writeHead(204).end();
          return;
        }
        const answer = await ask(`${this.gateway()}/v1/jobs/${job?.id ?? nobody}/cancel`, "POST", {}, undefined);
        if (job) await this.end(job);
        if (answer.status >= 300) return pass(answer, r);
        r.writeHead(204).end();
        return;
      }
      default: {
        const job = await this.jobs.get(at);
        if (job?.closed) await this.end(job);
        return this.readOn(q, r, job, url.search);
      }
    }
  }

  /** Submits a job, and waits until its run has begun. */
  private async submit(): Promise<Job> {
    const name = `${++this.made}`;
    const begun = new Promise<IncomingHttpHeaders>((resolve) => this.runs.set(name, resolve));
    const answer = await ask(`${this.gateway()}/v1/jobs`, "POST", { "content-type": "application/json" },
      Buffer.from(JSON.stringify({ job: type, payload: name })));
    if (answer.status !== 202) throw new Error(`submit: ${answer.status} ${answer.body.toString()}`);
    const headers = await begun;
    this.runs.delete(name);
    return {
      id: (JSON.parse(answer.body.toString()) as { jobId: string }).jobId, readers: 0, closed: false, ended: undefined,
      streams: String(headers["ackwire-streams"]), callback: String(headers["ackwire-callback"]),
    };
  }

  /** Passes a write on, and waits until readers see it. */
  private async write(q: IncomingMessage, job: Job, url: URL): Promise<Answer> {
    const answer = await ask(`${job.streams}/${stream}`, q.method ?? "", q.headers, await read(q));
    if (answer.headers.location === `${job.streams}/${stream}`) answer.headers.location = url.href;
    const offset = answer.headers["stream-next-offset"];
    if (answer.status >= 300 || offset === undefined || job.ended) return answer;
    await this.seen(job, `the gateway has come to ${offset}`, (h) => String(h["stream-next-offset"]) >= String(offset));
    job.closed = answer.headers["stream-closed"] === "true";
    if (job.closed && job.readers > 0) await this.end(job);
    return answer;
  }

  /** Ends a job with success, and waits until the gateway tells that its stream has ended. */
  private end(job: Job): Promise<void> {
    job.ended ??= (async () => {
      await ask(job.callback, "POST", { "content-type": "application/json" }, Buffer.from(`{"result":null}`));
      await this.seen(job, "the stream has ended", (h) => h["stream-closed"] === "true");
    })();
    return job.ended;
  }

  private async seen(job: Job, what: string, done: (headers: IncomingHttpHeaders) => boolean): Promise<void> {
    await until(`${what} (job ${job.id})`, async () => {
      const answer = await ask(`${this.gateway()}/v1/jobs/${job.id}/streams/${stream}`, "HEAD", {}, undefined);
      return answer.status === 200 && done(answer.headers);
    });
  }

  /** Passes a read on, and its answer as it comes. */
  private async readOn(q: IncomingMessage, r: ServerResponse, job: Job | undefined, search: string): Promise<void> {
    if (job) job.readers++;
    try {
      await new Promise<void>((resolve, reject) => {
        const target = `${this.gateway()}/v1/jobs/${job?.id ?? nobody}/streams/${stream}${search}`;
        const up = request(target, { method: q.method, headers: forwarded(q.headers) }, (answer) => {
          r.writeHead(answer.statusCode ?? 500, answer.headers);
          r.flushHeaders();
          answer.on("error", () => r.destroy());
          answer.on("close", resolve);
          answer.pipe(r);
        });
        up.on("error", reject);
        r.on("close", () => up.destroy());
        up.end();
      });
    } catch (e) {
      if (!r.destroyed) throw e;
    } finally {
      if (job) job.readers--;
    }
  }
}

/** The headers of a request without those of its connection. */
function forwarded(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const { host: _, connection: __, "transfer-encoding": ___, "content-length": ____, ...rest } = headers;
  return rest;
}

async function read(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function ask(url: string, method: string, headers: IncomingHttpHeaders, body: Buffer | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const up = request(url, { method, headers: { ...forwarded(headers), ...(body && { "content-length": String(body.length) }) } },
      (answer) => {
        read(answer).then((content) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: content }), reject);
      });
    up.on("error", reject);
    up.end(body);
  });
}

function pass(answer: Answer, r: ServerResponse): void {
  const { connection: _, "transfer-encoding": __, ...headers } = answer.headers;
  r.writeHead(answer.status, headers).end(answer.body);
}
