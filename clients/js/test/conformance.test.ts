// The scripts that all clients of Ackwire run: clients/testdata/conformance/README.md says how they are written.

import { readdirSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Ackwire, AckwireError, connect } from "../src/index.js";
import { type Any, FakeSession, type FakeTransport, limits, outcomeOf, pass, settle } from "./core/fake.js";
import { bulk, deadLetter, deadLetters, previewBulk, requeue, workers } from "../src/operate/index.js";
import type { Session, SessionEvents, Status, StreamChunk, Target } from "../src/types.js";

interface Script {
  name: string;
  tokens?: string[];
  steps: Any[];
}

const folder = new URL("../../testdata/conformance/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
const minute = 60_000;

/** A session whose server answers pings, which are no steps. */
class Peer extends FakeSession {
  override send(text: string): void {
    super.send(text);
    if (this.sent.at(-1)?.type !== "ping") return;
    const { id } = this.sent.pop();
    queueMicrotask(() => this.say({ type: "pong", id }));
  }
}

/** A watch that is read ahead by one document. */
class Reader {
  readonly abort = new AbortController();
  head!: ReturnType<typeof outcomeOf<IteratorResult<Status<Any>>>>;
  constructor(readonly statuses: AsyncIterator<Status<Any>>) {
    this.next();
  }
  next(): void {
    this.head = outcomeOf(this.statuses.next());
  }
}

/** A stream that is read ahead by one chunk. */
class Listener {
  head!: ReturnType<typeof outcomeOf<IteratorResult<StreamChunk>>>;
  constructor(readonly chunks: AsyncIterator<StreamChunk>) {
    this.next();
  }
  next(): void {
    this.head = outcomeOf(this.chunks.next());
  }
}

/** A request over HTTP that no step has answered. */
interface Ask {
  method: string;
  path: string;
  token: string | undefined;
  body: Any;
  answer: (response: Response) => void;
}

const base = "https://jobs.example";

/** The calls that scripts make by their names. */
const byName: Record<string, (client: Ackwire, w: Any) => Promise<Any>> = {
  history: (client, { job, ...query }) => client.history(job, query),
  payload: (client, { job }) => client.payload(job),
  workers: (client) => workers(client),
  deadLetters: (client, query) => deadLetters(client, query),
  deadLetter: (client, { id }) => deadLetter(client, id),
  requeue: (client, { id }) => requeue(client, id),
  previewBulk: async (client, { action, filter }) => {
    const { count, examples } = await previewBulk(client, action, filter);
    return { count, examples };
  },
  bulk: async (client, { action, filter, expect }) => {
    const { jobId, state } = await bulk(client, action, filter, expect, { key: "k" });
    return { jobId, state };
  },
  submitBatch: async (client, { items }) => (await client.submitBatch(items.map((item: Any) => ({ ...item, watch: false }))))
    .map(({ outcome, job, error }) => (job ? { outcome, job: job.id, duplicate: job.duplicate } : { outcome, code: error!.code })),
};

/** One script at work. */
class Run {
  readonly client: Ackwire;
  readonly tries: Peer[] = []; // attempts to open a session that no step has decided on
  readonly peers: Peer[] = [];
  readonly asks: Ask[] = [];
  readonly calls = new Map<string, ReturnType<typeof outcomeOf<Any>>>();
  readonly watches = new Map<string, Reader>();
  readonly streams = new Map<string, Listener>();
  readonly bound = new Map<string, string>();
  asked = 0;

  constructor(script: Script) {
    const { tokens } = script;
    const transport: Pick<FakeTransport, "name" | "open"> = {
      name: "fake",
      open: (target: Target, events: SessionEvents): Session => {
        const peer = new Peer(target, events);
        this.tries.push(peer);
        return peer;
      },
    };
    this.client = connect({
      url: base, transports: [transport],
      ...(tokens && { token: () => tokens[Math.min(this.asked++, tokens.length - 1)] }),
      fetch: (url, init = {}) => this.serve(String(url).replace(base, ""), init),
    });
  }

  private async serve(path: string, { method = "GET", headers, body }: RequestInit): Promise<Response> {
    if (path.startsWith("/v1/jobs?")) return Response.json({ jobs: [], asOf: "2026-01-02T03:04:05Z" });
    const token = new Headers(headers).get("Authorization")?.replace("Bearer ", "");
    return new Promise((answer) => this.asks.push({ method, path, token, body: body && JSON.parse(String(body)), answer }));
  }

  async step(s: Any): Promise<void> {
    const { as, of } = s;
    if ("submit" in s) {
      this.calls.set(as, outcomeOf(this.client.submit(s.submit, s.payload, {
        ...("key" in s && { key: s.key }), ...(s.watch === false && { watch: false }), ...("grant" in s && { grant: s.grant }), ...("streams" in s && { streams: s.streams }),
      })));
    } else if ("erase" in s) this.calls.set(as, outcomeOf(this.client.erase(s.erase)));
    else if ("makeGrant" in s) this.calls.set(as, outcomeOf(this.client.grant(s.makeGrant)));
    else if ("call" in s) this.calls.set(as, outcomeOf(byName[s.call]!(this.client, s.with ?? {})));
    else if ("gave" in s) await this.gave(s.gave, s.value);
    else if ("request" in s) await this.request(s.request, s.answer);
    else if ("cancel" in s) this.calls.set(as, outcomeOf(this.client.cancel(s.cancel)));
    else if ("retry" in s) this.calls.set(as, outcomeOf(this.client.retry(s.retry)));
    else if ("watch" in s || (s.mine && as)) this.watch(s);
    else if ("stream" in s) {
      const options = { chunks: true, ...(s.from && { after: s.from }) } as const;
      this.streams.set(as, new Listener(typeof s.stream === "string" ? this.client.job(s.stream).stream(s.name, options)
        : this.calls.get(s.stream.of)!.value.stream(s.name, options)));
    } else if ("read" in s) await this.read(s.read, s.chunk);
    else if ("over" in s) await this.over(s.over, s.fails);
    else if ("stop" in s) {
      const reader = this.watches.get(s.stop)!;
      reader.abort.abort();
    } else if ("session" in s) await this.session(s.session);
    else if ("refuse" in s) await this.refuse(s.refuse);
    else if ("take" in s) await this.take(this.name(s.take), this.name(s.status), s.progress);
    else if ("end" in s) await this.end(this.name(s.end), s.fails);
    else if ("done" in s) await this.done(s);
    else if ("fails" in s) {
      const call = this.calls.get(of)!;
      await this.until(() => call.done);
      this.wantError(call.error, s.fails);
    } else if ("running" in s) expect(this.calls.get(s.running)!.done).toBe(false);
    else if ("quiet" in s) await this.quiet(s.quiet * 1000);
    else await this.ofSession(s);
  }

  private async ofSession(s: Any): Promise<void> {
    const peer = s.on ? this.peers[s.on - 1]! : this.peers.at(-1)!;
    if ("expect" in s) {
      await this.until(() => peer.sent.length > 0);
      let frame = peer.take();
      if (s.expect.jobs?.[0]?.streams && frame.type === "subscribe" && !frame.jobs[0].streams) {
        // What follows streams is loaded when the first one is read; the job is watched meanwhile.
        peer.say({ type: "subscribed", id: frame.id, jobs: [{ jobId: frame.jobs[0].jobId, version: 4 }] });
        await this.until(() => peer.sent.length > 0);
        frame = peer.take();
      }
      if (!this.matches(named(frame), named(s.expect))) expect(frame).toEqual(s.expect);
    } else if ("send" in s) peer.say(this.filled(s.send));
    else if ("raw" in s) peer.say(s.raw);
    else if ("status" in s) {
      const [jobId, version] = this.name(s.status).split("@");
      const job = {
        jobId, type: "demo.echo", state: s.state, attempt: 1, maxAttempts: 3,
        createdAt: "2026-01-02T03:04:05Z", updatedAt: "2026-01-02T03:04:06Z",
        ...(s.progress && { progress: s.progress }),
      };
      peer.say({ type: "status", version: Number(version), job, ...(s.mine && { mine: true }) });
    } else if ("close" in s) peer.end(s.close);
    else if ("drop" in s) peer.end();
    else if ("closed" in s) {
      const old = this.peers[s.closed - 1]!;
      await this.until(() => old.ended);
    } else throw new Error("no such step");
  }

  /** Lets time pass until something is so, for at most that many milliseconds. */
  private async until(is: () => boolean, most = minute): Promise<void> {
    await settle();
    for (let passed = 0; !is() && passed < most; passed += 50) await pass(50);
    expect(is(), "it did not happen in time").toBe(true);
  }

  private async attempt(token?: string): Promise<Peer> {
    await this.until(() => this.tries.length > 0, 10 * minute);
    const peer = this.tries.shift()!;
    if (token !== undefined) expect(peer.target.token).toBe(token);
    return peer;
  }

  private async session({ token, ...members }: Any): Promise<void> {
    const peer = await this.attempt(token);
    this.peers.push(peer);
    peer.say({
      type: "welcome", connection: "c1", protocol: "ackwire.v1", pingInterval: 3600, limits, ...members,
    });
  }

  private async refuse({ token, ...problem }: Any): Promise<void> {
    const peer = await this.attempt(token);
    peer.end(1006, "", new AckwireError(problem));
  }

  private async request({ token, ...want }: Any, { status, body }: Any): Promise<void> {
    await this.until(() => this.asks.length > 0);
    const { answer, ...ask } = this.asks.shift()!;
    if (!this.matches(ask, { body: undefined, ...want, token })) expect(ask).toEqual({ body: undefined, ...want, token });
    answer(body ? Response.json(body, { status }) : new Response(null, { status }));
  }

  private async gave(name: string, want: Any): Promise<void> {
    const call = this.calls.get(name)!;
    await this.until(() => call.done);
    if (call.error) throw call.error;
    if (!this.matches(call.value, want)) expect(call.value).toEqual(want);
  }

  private watch(s: Any): void {
    const abort = new AbortController();
    const options = { signal: abort.signal, ...(s.after && { after: s.after }) };
    const statuses = s.mine ? this.client.mine(options)
      : typeof s.watch === "string" ? this.client.watch(s.watch, options)
      : this.calls.get(s.watch.of)!.value.watch(options);
    const reader = new Reader(statuses);
    reader.abort.signal.addEventListener("abort", () => abort.abort());
    this.watches.set(s.as, reader);
  }

  private async take(name: string, want: string, progress: Any): Promise<void> {
    const reader = this.watches.get(name)!;
    await this.until(() => reader.head.done);
    const { value, error } = reader.head;
    if (error) throw error;
    const status = value!.value;
    expect(`${status?.jobId}@${status?.version}`).toBe(want);
    if (progress) expect(status?.progress).toEqual(progress);
    reader.next();
  }

  private async read(name: string, { text, items, ...want }: Any): Promise<void> {
    const listener = this.streams.get(name)!;
    await this.until(() => listener.head.done);
    const { value, error } = listener.head;
    if (error) throw error;
    const { kind, at, ...chunk } = value!.value!;
    const length = text ? Buffer.byteLength(text) : items.length;
    expect([chunk, kind, at]).toEqual([{ ...want, ...(text ? { text } : { items }) }, text ? "text" : "json", want.from + length]);
    listener.next();
  }

  private async over(name: string, fails: Any): Promise<void> {
    const { head } = this.streams.get(name)!;
    await this.until(() => head.done);
    if (fails) this.wantError(head.error, fails);
    else expect(head).toEqual({ done: true, value: { value: undefined, done: true } });
  }

  private async end(name: string, fails: Any): Promise<void> {
    const { head } = this.watches.get(name)!;
    await this.until(() => head.done);
    if (fails) this.wantError(head.error, fails);
    else expect(head).toEqual({ done: true, value: { value: undefined, done: true } });
  }

  private async done(s: Any): Promise<void> {
    const call = this.calls.get(s.done)!;
    await this.until(() => call.done);
    if (call.error) throw call.error;
    const { value } = call;
    if ("job" in s) {
      expect([value.id, value.duplicate]).toEqual([s.job, s.duplicate]);
      expect(value.grant?.token ?? "").toBe(s.grant ?? "");
      expect([value.ahead, value.estimate]).toEqual([s.ahead, s.estimate]);
    } else if ("grant" in s) expect(value.token).toBe(s.grant);
    else expect(value).toBe(s.state);
  }

  private wantError(error: Any, want: Any): void {
    expect(error).toBeInstanceOf(Error);
    const got = { ...error, errors: error.errors?.length };
    expect(got).toMatchObject(want);
  }

  private async quiet(time: number): Promise<void> {
    await pass(time);
    expect([this.tries, this.asks]).toEqual([[], []]);
    for (const peer of this.peers) expect(peer.sent).toEqual([]);
  }

  /** Compares a frame with a pattern. */
  private matches(got: Any, want: Any): boolean {
    if (Array.isArray(want)) {
      return Array.isArray(got) && got.length === want.length && want.every((w, i) => this.matches(got[i], w));
    }
    if (typeof want === "object" && want !== null) {
      return typeof got === "object" && got !== null && Object.keys(got).length === Object.keys(want).length &&
        Object.keys(want).every((name) => name in got && this.matches(got[name], want[name]));
    }
    if (typeof want !== "string" || typeof got !== "string") return got === want;
    if (!/^\$(?!\$)/.test(want)) return got === want.replace("$$", "$");
    if (!this.bound.has(want)) this.bound.set(want, got);
    return this.bound.get(want) === got;
  }

  /** A frame with what its variables stand for. */
  private filled(value: Any): Any {
    if (Array.isArray(value)) return value.map((v) => this.filled(v));
    if (typeof value === "object" && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([name, v]) => [name, this.filled(v)]));
    }
    return this.bound.get(value) ?? value;
  }

  /** A name, or a job at a version, with what its variable stands for. */
  private name(text: string): string {
    return text.replace(/^[^@]*/, (head) => this.bound.get(head) ?? head);
  }
}

/** A frame whose streams are in the longer of their two forms. */
function named(frame: Any): Any {
  return JSON.parse(JSON.stringify(frame), (key, value) =>
    key === "streams" && Array.isArray(value)
      ? value.map((ref) => (typeof ref === "string" ? { stream: ref } : ref)) : value);
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("there are scripts", () => expect(files.length).toBeGreaterThan(5));

for (const file of files) {
  describe(file.replace(".json", ""), () => {
    const { scripts } = JSON.parse(readFileSync(new URL(file, folder), "utf8")) as { scripts: Script[] };
    for (const script of scripts) {
      test(script.name, async () => {
        const run = new Run(script);
        for (const [i, step] of script.steps.entries()) {
          try {
            await run.step(step);
            await settle();
          } catch (error) {
            throw new Error(`step ${i + 1} ${JSON.stringify(step)}: ${error instanceof Error ? error.message : error}`, {
              cause: error,
            });
          }
        }
        await run.client.close();
        await settle();
        expect(vi.getTimerCount(), "timers that are left").toBe(0);
      });
    }
  });
}
