// The server in memory is like the real one: the same frames and requests are sent to both, and all that comes back is
// written down and compared, but for times, IDs, versions, cursors and sentences for people.

import { expect, test } from "vitest";
import { WebSocket } from "ws";

import { createServer, type Frame, type TestJob } from "../../src/testing/index.js";
import { serve, until } from "./lib/process.js";

/** A server, seen by a client that is nothing but a session and fetch. */
interface Server {
  open(frame: (text: string) => void): Promise<(text: string) => void>;
  fetch(path: string, init?: RequestInit): Promise<Response>;
}

function real(gateway: string): Server {
  return {
    open: (frame) => new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://${gateway}/v1/ws`, ["ackwire.v1"]);
      socket.on("message", (data) => frame(String(data)));
      socket.on("open", () => resolve((text) => socket.send(text)));
      socket.on("error", reject);
    }),
    fetch: (path, init) => fetch(`http://${gateway}${path}`, init),
  };
}

/** The server in memory, with handlers as the demo worker has them. */
function memory(): Server {
  const server = createServer({ types: ["demo.echo", "demo.fail", "demo.sleep"] });
  server.on("demo.echo", (job) => job.payload);
  server.on("demo.fail", (job) => job.fail("demo_failed", (job.payload as { message: string }).message));
  server.on("demo.sleep", sleep);
  return {
    async open(frame) {
      const target = {
        base: server.url, query: "", token: undefined, tickets: false, standard: server.transport, fetch: server.fetch,
        WebSocket: undefined,
      };
      const session = server.transport.open(target, { frame, closed: () => {} });
      return (text) => session.send(text);
    },
    fetch: (path, init) => server.fetch(server.url + path, init),
  };
}

async function sleep(job: TestJob): Promise<unknown> {
  const { seconds, steps } = job.payload as { seconds: number; steps: number };
  for (let i = 1; i <= steps; i++) {
    try {
      await job.delay((seconds * 1000) / steps);
    } catch {
      return job.fail("cancelled", "the job was cancelled");
    }
    job.progress((100 * i) / steps, `step ${i} of ${steps}`);
  }
  return { slept: seconds, steps };
}

/** One run of the story, and what was written down. */
class Story {
  readonly lines: string[] = [];
  readonly frames: Frame[] = [];
  readonly #server: Server;
  readonly #ids = new Map<string, string>();
  #send!: (text: string) => void;
  #asked = 0;

  constructor(server: Server) {
    this.#server = server;
  }

  async begin(): Promise<void> {
    this.#send = await this.#server.open((text) => void this.frames.push(JSON.parse(text) as Frame));
    this.write("welcome", await this.wait((frame) => frame.type === "welcome"));
  }

  /** A value without what differs between any two runs. */
  #plain(value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => this.#plain(item));
    if (typeof value === "object" && value !== null) {
      return Object.fromEntries(Object.entries(value).flatMap(([name, member]) => {
        // What an ack says of its lane is there only if the gateway has heard of it from the trackers lately.
        if (["detail", "worker", "ahead", "estimate"].includes(name)) return [];
        const differs = /At$|^asOf$|^versions?$|^connection$|[cC]ursor$|^ticket$|^url$/.test(name);
        return [[name, differs ? name : this.#plain(member)]];
      }));
    }
    return typeof value === "string" ? this.#named(value) : value;
  }

  /** A text with a name for each job ID. */
  #named(text: string): string {
    return text.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, (id) => {
      if (!this.#ids.has(id)) this.#ids.set(id, `job ${this.#ids.size}`);
      return this.#ids.get(id)!;
    });
  }

  write(label: string, value: unknown): void {
    this.lines.push(`${label}: ${JSON.stringify(this.#plain(value))}`);
  }

  say(text: string): void {
    this.#send(text);
  }

  async wait(wanted: (frame: Frame) => boolean): Promise<Frame> {
    const last = () => `the frame came; the last ones are ${JSON.stringify(this.frames.slice(-3))}`;
    let frame: Frame | undefined;
    await until(last, () => !!(frame = this.frames.find(wanted)), 10_000);
    return frame!;
  }

  /** Sends a frame, and writes its answer down. */
  async ask(label: string, frame: object): Promise<{ jobId: string }> {
    const id = `q${this.#asked++}`;
    this.say(JSON.stringify({ id, ...frame }));
    const answer = await this.wait((other) => other.id === id);
    this.write(label, answer.type === "ack" && /^(retry|cancel)/.test(label) ? later(answer) : answer);
    return answer as unknown as { jobId: string };
  }

  /** Waits for a job's status in a state, and writes it down. */
  async reaches(jobId: string, ...states: string[]): Promise<{ version: number }> {
    const of = (frame: Frame) => frame["job"] as { jobId: string; state: string };
    const about = (frame: Frame) => frame.type === "status" && of(frame).jobId === jobId;
    const frame = await this.wait((other) => about(other) && states.includes(of(other).state));
    this.write("status", frame);
    return frame as unknown as { version: number };
  }

  async request(method: string, path: string, body?: string, headers: Record<string, string> = {}): Promise<void> {
    const response = await this.#server.fetch(path, { method, headers, ...(body !== undefined && { body }) });
    const text = await response.text();
    const type = response.headers.get("Content-Type") ?? "";
    const answer = /json/.test(type) ? (JSON.parse(text) as object) : events(text);
    const of = this.#plain(/\/(retry|cancel)$/.test(path) && response.ok ? later(answer) : answer);
    const location = this.#named(response.headers.get("Location") ?? "");
    this.lines.push(`${method} ${this.#named(path)}: ${response.status} ${type} ${location} ${JSON.stringify(of)}`);
  }
}

/** The answer to a retry or a cancel: its job may have gone on by then, or not yet. */
const later = (answer: object) => ({ ...answer, state: "this or the next" });

const events = (text: string) =>
  text.split("\n").flatMap((line) => (line.startsWith("data: ") ? [JSON.parse(line.slice(6)) as unknown] : []));

const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();
const inFortyDays = () => new Date(Date.now() + 40 * 86_400_000).toISOString();

/** Submits that are refused, and those that are just right. */
async function submits(s: Story): Promise<void> {
  const submit = (label: string, members: object) => s.ask(label, { type: "submit", ...members });
  const echo = (label: string, members: object) => submit(label, { job: "demo.echo", payload: 1, ...members });
  await submit("no type", { payload: 1 });
  await submit("type of another type", { job: 5, payload: 1 });
  await submit("unknown type", { job: "what", payload: 1 });
  await submit("no payload", { job: "demo.echo" });
  await echo("long key", { key: "x".repeat(129) });
  await echo("key of another type", { key: 5 });
  await echo("runAt that is none", { runAt: "x" });
  await echo("runAt too far ahead", { runAt: inFortyDays() });
  await echo("runAt behind the deadline", { runAt: inAnHour(), deadline: 5 });
  await echo("negative timeout", { timeout: -1 });
  await echo("timeout of another type", { timeout: "1" });
  await echo("deadline of 0", { deadline: 0 });
  await echo("watch of another type", { watch: 5 });
  await echo("callback that is none", { callbackUrl: "x" });
  await echo("unknown state", { callbackUrl: "https://example.com", callbackEvents: ["x"] });
  await echo("states alone", { callbackEvents: ["completed"] });
  await echo("tags", { tags: { customer: "c-17", note: "żółć" }, watch: false });
  await echo("tags of another type", { tags: ["a"] });
  await echo("tag of another type", { tags: { a: 1 } });
  await echo("tags with a wrong key", { tags: { "a b": "1" } });
  await echo("tags without a value", { tags: { b: "", a: "" } });
  await echo("tags with a control character", { tags: { a: "x\n" } });
  await echo("many tags", { tags: Object.fromEntries([...Array(17).keys()].map((n) => [`k${n}`, "v"])) });
  await echo("null", { payload: null, key: null, watch: null, timeout: null, runAt: null });
  await echo("empty key", { key: "", watch: false });
  await echo("runAt that is past", { runAt: "2020-01-01T00:00:00Z", watch: false });
}

async function watches(s: Story, jobId: string, version: number): Promise<void> {
  const subscribe = (label: string, members: object) => s.ask(label, { type: "subscribe", ...members });
  await subscribe("one twice, and none", { jobs: [{ jobId }, { jobId: "none" }, { jobId, after: 3 }] });
  await subscribe("after the last", { jobs: [{ jobId, after: version }] });
  await subscribe("after what was lost", { jobs: [{ jobId, after: version + 1000 }] });
  await subscribe("no jobs", { jobs: [] });
  await subscribe("nothing", {});
  await subscribe("no job", { jobs: [5] });
  await subscribe("no ID", { jobs: [{ jobId: "" }] });
  await subscribe("after of another type", { jobs: [{ jobId, after: "1" }] });
  await subscribe("negative after", { jobs: [{ jobId, after: -1 }] });
  await subscribe("after of a fraction", { jobs: [{ jobId, after: 1.5 }] });
  await subscribe("jobs and mine", { jobs: [{ jobId }], mine: true });
  await subscribe("not mine", { mine: false });
  await subscribe("mine of another type", { mine: 1 });
  await s.ask("unsubscribe", { type: "unsubscribe", jobs: [jobId, "none"] });
  await s.ask("unsubscribe from no job", { type: "unsubscribe", jobs: [{}] });
  await s.ask("unsubscribe from nothing", { type: "unsubscribe" });
  await s.ask("unsubscribe from jobs and mine", { type: "unsubscribe", jobs: [], mine: true });
}

async function orders(s: Story, ended: string): Promise<string> {
  await s.ask("cancel of an ended job", { type: "cancel", jobId: ended });
  await s.ask("cancel of nothing", { type: "cancel" });
  await s.ask("cancel of none", { type: "cancel", jobId: "none" });
  await s.ask("retry of none", { type: "retry", jobId: "none" });
  const { jobId } = await s.ask("submit", { type: "submit", job: "demo.sleep", payload: { seconds: 20, steps: 2 } });
  await s.reaches(jobId, "processing");
  await s.ask("retry of a running job", { type: "retry", jobId });
  await s.ask("cancel of a running job", { type: "cancel", jobId });
  await s.reaches(jobId, "cancelled");
  s.frames.length = 0;
  await s.ask("retry", { type: "retry", jobId });
  await s.reaches(jobId, "processing");
  await s.ask("cancel again", { type: "cancel", jobId });
  await s.reaches(jobId, "cancelled");
  const later = await s.ask("later", { type: "submit", job: "demo.echo", payload: 1, runAt: inAnHour() });
  await s.reaches(later.jobId, "scheduled");
  await s.ask("cancel of a scheduled job", { type: "cancel", jobId: later.jobId });
  await s.reaches(later.jobId, "cancelled");
  const failed = await s.ask("failing", { type: "submit", job: "demo.fail", payload: { message: "no" } });
  await s.reaches(failed.jobId, "failed");
  return later.jobId;
}

async function mine(s: Story): Promise<void> {
  s.frames.length = 0;
  await s.ask("mine", { type: "subscribe", mine: true });
  const { cursor } = await s.wait((frame) => frame.type === "cursor");
  const { jobId } = await s.ask("submit", { type: "submit", job: "demo.echo", payload: 1 });
  await s.reaches(jobId, "completed");
  await s.wait((frame) => frame.type === "cursor" && frame["cursor"] !== cursor);
  await s.ask("mine again", { type: "subscribe", mine: true, after: cursor });
  await s.ask("mine no more", { type: "unsubscribe", mine: true });
}

async function requests(s: Story, jobId: string, cancelled: string): Promise<void> {
  const json = { "Content-Type": "application/json" };
  const at = `/v1/jobs/${jobId}`;
  for (const path of [
    at, `${at}/why`, `${at}/result`, `${at}/deliveries`, `/v1/jobs/${cancelled}/result`, "/v1/jobs/none", "/v1/what",
    "/v1/jobs?limit=2&mine=true", "/v1/jobs?limit=0", "/v1/jobs?x=1", "/v1/jobs?state=x", "/v1/jobs?cursor=x",
  ]) await s.request("GET", path);
  await s.request("POST", "/v1/jobs", '{"job":"demo.echo","payload":1}', { ...json, Prefer: "wait=5" });
  await s.request("POST", "/v1/jobs", "{", json);
  await s.request("POST", "/v1/jobs", '{"job":5,"payload":1}', json);
  await s.request("POST", `${at}/cancel`);
  await s.request("POST", `${at}/retry`);
  await s.request("POST", "/v1/ws-tickets");
  const poll = { ...json, Prefer: "wait=1" };
  await s.request("POST", "/v1/events", "{}", poll);
  await s.request("POST", "/v1/events", '{"jobs":[5]}', poll);
  await s.request("POST", "/v1/events", JSON.stringify({ jobs: [{ jobId: cancelled }, { jobId: "none" }] }), poll);
  for (const id of [cancelled, cancelled, "none"]) await s.request("DELETE", `/v1/jobs/${id}`);
  await s.request("GET", `/v1/jobs/${cancelled}`);
}

async function tell(server: Server): Promise<string[]> {
  const s = new Story(server);
  await s.begin();
  const payload = { a: 1, b: [1, 2] };
  const first = await s.ask("submit", { type: "submit", job: "demo.echo", payload, key: "k" });
  const { version } = await s.reaches(first.jobId, "completed");
  await s.ask("duplicate", { type: "submit", job: "demo.echo", payload: { b: [1, 2], a: 1 }, key: "k" });
  await s.ask("another payload", { type: "submit", job: "demo.echo", payload: 1, key: "k" });
  await submits(s);
  await s.ask("unknown frame", { type: "what" });
  await s.ask("ping", { type: "ping" });
  await s.ask("auth of nothing", { type: "auth" });
  await watches(s, first.jobId, version);
  const cancelled = await orders(s, first.jobId);
  await mine(s);
  s.say("{");
  s.write("no JSON", await s.wait((frame) => frame.type === "error" && frame.id === undefined));
  await requests(s, first.jobId, cancelled);
  return s.lines;
}

test("what a client sees of the server in memory is what it sees of a real one", async () => {
  const system = await serve();
  try {
    const [wanted, got] = await Promise.all([tell(real(system.gateways[0]!)), tell(memory())]);
    expect(wanted.length).toBeGreaterThan(80);
    expect(got).toEqual(wanted);
  } finally {
    await system.stop();
  }
});
