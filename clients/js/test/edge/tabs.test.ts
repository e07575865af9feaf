// tabs(): all tabs of an origin share one session, and no tab's end takes anything from the others.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { connect } from "../../src/index.js";
import "../../src/mine.js"; // which takes a while to load when the machine is busy
import "../../src/streams.js"; // so does this
import { tabs, type TabsOptions } from "../../src/tabs/index.js";
import { createServer, type ServerOptions, type TestServer } from "../../src/testing/index.js";
import type { Ackwire, Job, Status, Transport } from "../../src/types.js";
import { Origin, type Tab } from "../tabs.js";
import { type Frame, FrameClient } from "./frames.js";

let server: TestServer;
let origin: Origin;
let pages: Page[];

function start(options?: ServerOptions) {
  server = createServer(options);
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"] });
  origin = new Origin();
  pages = [];
  start();
});
afterEach(async () => {
  for (const page of pages) await page.client.close();
  server.stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

/** Has what is under way come to rest, hashes included, which other threads make. */
async function rest() {
  for (let i = 0; i < 4; i++) {
    await crypto.subtle.digest("SHA-256", new Uint8Array());
    await new Promise((done) => setImmediate(done));
  }
}

/** Lets time pass, in milliseconds. */
async function pass(ms = 0) {
  for (let left = ms; left > 0; left -= 50) {
    await rest();
    await vi.advanceTimersByTimeAsync(Math.min(left, 50));
  }
  await rest();
}

/** A page, with its own view of what tabs share. */
class Page {
  readonly tab: Tab = origin.tab();
  readonly events = new EventTarget();
  readonly transport: Transport;
  readonly client: Ackwire;

  constructor(token?: string, options?: TabsOptions) {
    const transport = tabs({ transport: server.transport, ...options });
    this.transport = {
      name: transport.name,
      open: (target, events) => {
        vi.stubGlobal("navigator", { locks: this.tab.locks });
        vi.stubGlobal("BroadcastChannel", this.tab.Channel);
        vi.stubGlobal("addEventListener", this.events.addEventListener.bind(this.events));
        return transport.open(target, events);
      },
    };
    this.client = connect({
      url: server.url, transports: [this.transport], fetch: server.fetch, ...(token && { token }),
    });
    pages.push(this);
  }

  /** A session of the transport alone. */
  dial(token?: string): FrameClient {
    return new FrameClient(this.transport, { base: server.url, token, fetch: server.fetch });
  }

  /** Ends the page as a crash does: the server hears of it as its socket is closed. */
  die(): void {
    const leads = [...origin.locks.values()].some(({ held, queue }) => held?.tab === this.tab && queue.length > 1);
    this.tab.frozen = true;
    this.tab.die();
    if (leads) for (const session of open()) session.cut();
    pages.splice(pages.indexOf(this), 1);
  }
}

const open = () => server.sessions.filter(({ ended }) => !ended);
const received = (type: string) => server.sessions.flatMap(({ received }) => received.filter((f) => f.type === type));
/** The watches that tabs have ended at the server. */
const ended = () => received("unsubscribe").flatMap(({ jobs, mine }) => (mine ? ["mine"] : jobs));

async function dialed(n: number, token?: string) {
  const clients: FrameClient[] = [];
  for (let i = 0; i < n; i++) {
    clients.push(new Page(token).dial(token));
    await pass(); // the first one leads
  }
  for (const client of clients) expect(client.frames.map(({ type }) => type)).toEqual(["welcome"]);
  return clients;
}

describe("sharing", () => {
  test("twenty tabs cause one session, and each has its own answers and statuses", async () => {
    const clients = await dialed(20);
    expect(server.sessions).toHaveLength(1);
    const acks = clients.map((client, i) => client.ask({ type: "submit", job: "a", payload: i, key: `k${i}` }));
    await pass();
    const ids = (await Promise.all(acks)).map(({ jobId }) => jobId as string);
    expect(new Set(ids).size).toBe(20);
    clients.forEach((client, i) => {
      expect(client.statuses(ids[i]!).length).toBeGreaterThan(0);
      expect(client.frames.filter((f) => f.type === "status" && f.job.jobId !== ids[i])).toEqual([]);
    });
    expect(server.jobs.map(({ submitted }) => submitted.payload).sort((a: any, b: any) => a - b))
      .toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  test("a tab that follows streams has a session of its own; the others go on", async () => {
    server.on("chat", async (job) => {
      job.write("tokens", "one ");
      await job.delay(1000);
      job.write("tokens", "two");
    });
    const [leader, other] = [new Page(), new Page()];
    const readers: Promise<string>[] = [];
    const text = async (job: Job) => {
      let all = "";
      for await (const piece of job.stream("tokens")) all += piece;
      return all;
    };
    const job = await Promise.race([leader.client.submit("chat", 1), pass(500)]) as Job;
    const ends = other.client.job(job.id).wait();
    await pass(200);
    expect(open()).toHaveLength(1);
    readers.push(text(leader.client.job(job.id)), text(other.client.job(job.id)));
    await pass(500);
    expect(open()).toHaveLength(2);
    await pass(2000);
    expect(await Promise.all(readers)).toEqual(["one two", "one two"]);
    expect(await ends).toMatchObject({ state: "completed", streams: { tokens: { kind: "text", total: 7 } } });
  });

  test("payloads go on with every digit", async () => {
    const [, follower] = await dialed(2);
    follower!.session.send('{"type":"submit","id":"1","job":"a","payload":{"n":12345678901234567890,"id":"1"}}');
    await pass();
    expect(follower!.frames.at(-1)!.type).toBe("status");
    expect(server.jobs[0]!.submitted.payload).toEqual({ n: 12345678901234567890, id: "1" });
  });

  test("a watch ends at the server when its last tab has left", async () => {
    const [a, b] = await dialed(2);
    const ack = a!.ask({ type: "submit", job: "a", payload: 1 });
    await pass();
    const { jobId } = await ack;
    const subscribed = b!.ask({ type: "subscribe", jobs: [{ jobId }] });
    await pass();
    expect(await subscribed).toMatchObject({ jobs: [{ jobId }] });
    expect(b!.statuses(jobId)).toEqual(a!.statuses(jobId)); // though the server sends a version once
    const gone = a!.ask({ type: "unsubscribe", jobs: [jobId] });
    await pass();
    expect(await gone).toMatchObject({ type: "unsubscribed" });
    expect(ended()).toEqual([]);
    const job = await server.next();
    job.progress(50);
    await pass();
    expect(b!.statuses(jobId).at(-1)).toEqual([expect.anything(), "processing"]);
    expect(a!.statuses(jobId).at(-1)![1]).toBe("pending");
    void b!.ask({ type: "unsubscribe", jobs: [jobId] });
    await pass();
    expect(ended()).toEqual([jobId]);
  });

  test("a tab that dies leaves no watch behind", async () => {
    const page = new Page();
    await dialed(1);
    const client = page.dial();
    await pass();
    const ack = client.ask({ type: "submit", job: "a", payload: 1 });
    await pass();
    const { jobId } = await ack;
    page.die();
    await pass();
    expect(ended()).toEqual([jobId]);
  });

  test("tabs take turns at the bound on submits in flight", async () => {
    start({ limits: { inFlightSubmits: 2 } });
    const [a, b] = await dialed(2);
    for (let i = 0; i < 20; i++) {
      if (i === 10) b!.send({ type: "submit", job: "a", payload: "b" });
      await Promise.resolve();
      a!.send({ type: "submit", job: "a", payload: `a${i}` });
    }
    await pass();
    await pass();
    expect(server.jobs).toHaveLength(21); // the server would have refused what is above its bound
    const order = received("submit").map(({ payload }) => payload as string);
    expect(order.indexOf("b")).toBeLessThan(20);
    expect([...a!.frames, ...b!.frames].filter((f) => f.type === "error")).toEqual([]);
  });

  test("a tab for which there is no room has a session of its own", async () => {
    start({ limits: { subscriptions: 3 } });
    const pages = [new Page(), new Page()];
    const a = pages[0]!.dial();
    await pass();
    const b = pages[1]!.dial();
    await pass();
    const acks = [a, a, b].map((client) => client.ask({ type: "submit", job: "a", payload: 1, watch: false }));
    await pass();
    const [one, two, three] = (await Promise.all(acks)).map(({ jobId }) => ({ jobId: jobId as string }));
    void a.ask({ type: "subscribe", jobs: [one, two] });
    await pass();
    b.send({ type: "subscribe", jobs: [one, two, three, { jobId: "x" }] });
    await pass();
    expect(b.ends).toMatchObject([{ code: 1012 }]);
    expect(a.ends).toEqual([]);
    const again = pages[1]!.dial();
    await pass();
    expect(open()).toHaveLength(2);
    again.session.close(1000);
  });

  test("tabs of different users share nothing, whatever else their tokens say", async () => {
    const jwt = (claims: object) => `x.${btoa(JSON.stringify(claims))}.y`;
    const alice = jwt({ sub: "alice", exp: 1, jti: "1" });
    const later = jwt({ sub: "alice", exp: 2, jti: "2" });
    const bob = jwt({ sub: "bob", exp: 1, jti: "1" });
    const clients: FrameClient[] = [];
    for (const token of [alice, later, bob]) {
      clients.push(new Page().dial(token));
      await pass();
    }
    expect(clients.map(({ frames }) => frames.length)).toEqual([1, 1, 1]);
    expect(server.sessions.map(({ token }) => token)).toEqual([alice, bob]);
    // The leader's token is the session's: it alone is renewed. Another tab begins anew with its new token.
    open()[0]!.send({ type: "expiring", expiresAt: "2026-01-01T00:00:00Z", closesAfter: 1 });
    await pass();
    expect(clients.map(({ frames }) => frames.at(-1)!.type)).toEqual(["expiring", "welcome", "welcome"]);
    clients[1]!.send({ type: "auth", token: bob });
    await pass();
    expect(clients[1]!.ends).toMatchObject([{ code: 1012 }]);
    expect(received("auth")).toEqual([]);
    const own = clients[0]!.ask({ type: "auth", token: later });
    await pass();
    expect(await own).toMatchObject({ type: "welcome" });
    expect(received("auth")).toHaveLength(1);
  });

  test("pings reach the server, and its answer everybody", async () => {
    const [a, b] = await dialed(2);
    b!.session.send('{"type":"ping"}');
    await pass();
    expect(received("ping")).toHaveLength(1);
    expect(a!.frames.at(-1)).toMatchObject({ type: "pong" });
    expect(b!.frames.at(-1)).toMatchObject({ type: "pong" });
  });

  test("a status that the leader has no room to keep is asked for again, in a new session", async () => {
    const [a, b] = [new Page(), new Page()].map(({ client }) => client) as [Ackwire, Ackwire];
    const mine = a.mine();
    void mine.next();
    await pass(50);
    const waiting = b.watch("other").next().catch(() => {}); // it holds the session
    await pass(50);
    const ids: string[] = [];
    for (let i = 0; i < 40; i++) {
      const submitted = a.submit("a", i, { watch: false });
      await pass();
      (await server.next()).complete("x".repeat(250_000)); // 10 MB of statuses
      ids.push((await submitted).id);
    }
    await pass(50);
    expect(server.sessions).toHaveLength(1);
    const last = b.job(ids.at(-1)!).wait();
    await pass(50);
    expect((await last).state).toBe("completed");
    expect(server.sessions).toHaveLength(1); // from what is kept
    const all = ids.map((id) => b.job(id).wait());
    await pass(50);
    for (const status of await Promise.all(all)) expect(status.state).toBe("completed");
    expect(server.sessions).toHaveLength(2);
    await pass(50);
    expect(open()).toHaveLength(1);
    await mine.return?.();
    await waiting;
  });

  test.each([0, 1])("a job that had ended before all jobs are followed is followed again, in tab %i", async (tab) => {
    server.on("a", () => 1);
    const clients = [new Page(), new Page()].map(({ client }) => client) as [Ackwire, Ackwire];
    void clients[1 - tab]!.watch("other").next().catch(() => {}); // both tabs are in use
    await pass(100);
    const client = clients[tab]!;
    const submitted = client.submit("a", 1);
    await pass(100);
    const { id } = await submitted;
    const first = client.job(id).wait();
    await pass(100);
    expect((await first).state).toBe("completed");
    const mine = client.mine();
    void mine.next();
    await pass(100);
    const again = client.job(id).wait();
    await pass(2000);
    expect((await again).state).toBe("completed");
    const sessions = server.sessions.length;
    await pass(60_000);
    expect([server.sessions.length, open().length]).toEqual([sessions, 1]);
    await mine.return?.();
  });

  test("a reset of all jobs reaches the tabs that follow them, and no other", async () => {
    const [a, b] = await dialed(2);
    void a!.ask({ type: "subscribe", mine: true });
    await pass();
    open()[0]!.send({ type: "subscribed", jobs: [], mine: true, reset: true });
    open()[0]!.send({ type: "subscribed", jobs: [{ jobId: "x", version: 1, reset: true }] });
    await pass();
    expect(a!.frames.filter((f) => f.type === "subscribed" && f.mine && f.reset)).toHaveLength(1);
    expect(b!.frames.slice(1)).toEqual([{ type: "subscribed", jobs: [{ jobId: "x", version: 1, reset: true }] }]);
  });

  test("what the leader's renewed token does not permit ends in all tabs, and the server decides on it anew", async () => {
    start({ tokens: { t: "ada" } });
    const [a, b] = ["a", "b"].map(() => new Page("t", { user: "ada" }).dial("t"));
    const answer = async (client: FrameClient | undefined, frame: Frame) => {
      const answered = client!.ask(frame);
      await pass();
      return answered;
    };
    await pass();
    expect([a!.frames.length, b!.frames.length, open().length]).toEqual([1, 1, 1]);
    const { jobId, grant } = await answer(a, { type: "submit", job: "x", payload: 1, grant: { ttl: 60 } }) as any;
    const other = (await answer(b, { type: "submit", job: "x", payload: 1 })).jobId;
    for (const client of [a, b]) {
      await answer(client, { type: "subscribe", jobs: [{ jobId }] });
      await answer(client, { type: "subscribe", jobs: [{ jobId: other }] });
      expect(await answer(client, { type: "subscribe", mine: true })).toMatchObject({ type: "subscribed" });
    }
    const before = [a!.frames.length, b!.frames.length];
    expect(await answer(a, { type: "auth", token: grant.token })).toMatchObject({ type: "welcome" });
    const ends = [
      { type: "unsubscribed", jobs: [], mine: true, error: "forbidden" },
      { type: "subscribed", jobs: [{ jobId: other, error: "not_found" }] },
    ];
    expect(a!.frames.slice(before[0]! + 1)).toEqual(ends);
    expect(b!.frames.slice(before[1])).toEqual(ends);
    expect(await answer(b, { type: "subscribe", mine: true })).toMatchObject({ type: "error", code: "forbidden" });
    expect(await answer(b, { type: "subscribe", jobs: [{ jobId: other }] })).toMatchObject({
      jobs: [{ jobId: other, error: "not_found" }],
    });
    await answer(a, { type: "auth", token: "t" });
    expect(await answer(b, { type: "subscribe", mine: true })).toMatchObject({ type: "subscribed", mine: true });
    await answer(a, { type: "cancel", jobId: other });
    expect(b!.frames.at(-2)).toMatchObject({ type: "status", mine: true, job: { jobId: other, state: "cancelled" } });
    expect(b!.frames.at(-1)).toMatchObject({ type: "cursor" });
  });

  test("all jobs that a grant does not permit to follow are refused to every tab, though they ask at once", async () => {
    start({ tokens: { t: "ada" } });
    const backend = connect({ url: server.url, transports: [server.transport], fetch: server.fetch, token: "t" });
    const { token } = await backend.grant({ types: ["x"], ttl: 60 });
    await backend.close();
    const outcomes = [1, 2, 3].map(() => new Page(token, { user: "ada" }).client.mine().next().catch(({ code }) => code));
    await pass(2000);
    expect(await Promise.all(outcomes)).toEqual(["forbidden", "forbidden", "forbidden"]);
    expect(open().length).toBeLessThan(2);
  });

  test("two goaway frames are one", async () => {
    const [a, b] = await dialed(2);
    for (let i = 0; i < 3; i++) open()[0]!.send({ type: "goaway", reason: "restart", reconnectAfter: 1 });
    await pass();
    const locks = [...origin.locks].filter(([, { held }]) => held);
    expect(locks).toHaveLength(2); // each tab's own: the leader still lives
    expect([a!.ends, b!.ends]).toEqual([[], []]);
  });
});

describe("all jobs", () => {
  test("are told to every tab that follows them, with the cursor, by one subscription", async () => {
    const [a, b, c] = await dialed(3);
    for (const client of [a!, b!]) {
      const subscribed = client.ask({ type: "subscribe", mine: true });
      await pass();
      expect(await subscribed).toMatchObject({ type: "subscribed", mine: true });
    }
    expect(received("subscribe")).toHaveLength(1);
    c!.send({ type: "submit", job: "a", payload: 1 });
    await pass(2000);
    for (const client of [a!, b!]) {
      expect(client.frames.some((f) => f.type === "status" && f.mine)).toBe(true);
      expect(client.frames.some((f) => f.type === "cursor")).toBe(true);
    }
    expect(c!.frames.some((f) => f.type === "cursor")).toBe(false);
    void a!.ask({ type: "unsubscribe", mine: true });
    await pass();
    expect(ended()).toEqual([]);
    void b!.ask({ type: "unsubscribe", mine: true });
    await pass();
    expect(ended()).toEqual(["mine"]);
  });

  test("are told from a cursor on that the session knows, and one that it does not know is void", async () => {
    const [a, b, c] = await dialed(3);
    void a!.ask({ type: "subscribe", mine: true });
    await pass();
    c!.send({ type: "submit", job: "a", payload: 1 });
    await pass(2000);
    const { cursor } = a!.frames.findLast((f) => f.type === "cursor")!;
    const ack = c!.ask({ type: "submit", job: "a", payload: 2 });
    await pass();
    const { jobId } = await ack;
    const known = b!.ask({ type: "subscribe", mine: true, after: cursor });
    const unknown = c!.ask({ type: "subscribe", mine: true, after: "other" });
    await pass();
    expect((await known).reset).toBe(false);
    expect((await unknown).reset).toBe(true);
    expect(b!.frames.filter((f) => f.type === "status").map((f) => f.job.jobId)).toEqual([jobId]);
    // A gap in which no tab has followed voids the cursors from before it.
    for (const client of [a!, b!, c!]) void client.ask({ type: "unsubscribe", mine: true });
    await pass();
    expect(ended()).toEqual(["mine"]);
    void a!.ask({ type: "subscribe", mine: true });
    const old = b!.ask({ type: "subscribe", mine: true, after: cursor });
    await pass();
    expect((await old).reset).toBe(true);
  });
});

describe("hand-over", () => {
  /** Clients that each watch a job of their own, and all jobs; what they were told. */
  async function watching(n: number) {
    const told: Status[][] = [];
    const all: Status[][] = [];
    const jobs: string[] = [];
    const clients = Array.from({ length: n }, () => new Page().client);
    for (const [i, client] of clients.entries()) {
      told[i] = [];
      all[i] = [];
      void (async () => {
        for await (const status of client.mine()) all[i]!.push(status);
      })().catch(() => {});
      void (async () => {
        const job = await client.submit("a", i);
        jobs[i] = job.id;
        for await (const status of job) told[i]!.push(status);
      })().catch(() => {});
      await pass(50); // the first one leads
    }
    await pass(1000);
    expect(open()).toHaveLength(1);
    return { clients, told, all, jobs };
  }

  /** What must hold for the tabs from `first` on, whatever happened. */
  async function ends({ told, all, jobs }: Awaited<ReturnType<typeof watching>>, first: number, within: number) {
    await pass(within);
    expect(open()).toHaveLength(1);
    for (let job; (job = await Promise.race([server.next("a"), pass(50)])); ) job.complete("r");
    await pass(500);
    for (let i = first; i < jobs.length; i++) {
      expect(told[i]!.at(-1)?.state).toBe("completed");
      for (const statuses of [told[i]!, ...jobs.map((id) => all[i]!.filter(({ jobId }) => jobId === id))]) {
        const versions = statuses.map(({ version }) => version);
        expect(versions).toEqual([...new Set(versions)].sort((a, b) => a - b));
      }
      for (const id of jobs) expect(all[i]!.findLast(({ jobId }) => jobId === id)?.state).toBe("completed");
    }
    expect(server.jobs).toHaveLength(jobs.length);
  }

  test("the leader's tab is closed", async () => {
    const all = await watching(5);
    await all.clients[0]!.close();
    await ends(all, 1, 100);
    expect(server.sessions).toHaveLength(2);
  });

  test("the leader's tab crashes", async () => {
    const all = await watching(5);
    pages[0]!.die();
    await ends(all, 1, 100);
  });

  test("the leader's page is frozen, and goes on later", async () => {
    const all = await watching(5);
    const [page] = pages;
    page!.events.dispatchEvent(new Event("freeze"));
    page!.tab.frozen = true;
    await pass(100);
    expect(open()).toHaveLength(1);
    page!.tab.frozen = false;
    page!.events.dispatchEvent(new Event("resume"));
    await ends(all, 0, 500);
  });

  test("the leader's tab hangs, is deposed, and steps down when it goes on", async () => {
    const all = await watching(5);
    await pass(10_000);
    expect(server.sessions).toHaveLength(1); // though it had nothing to say
    const [page] = pages;
    page!.tab.frozen = true;
    for (const client of all.clients.slice(1)) void client.submit("other", 1).catch(() => {});
    await pass(1000);
    expect(server.sessions).toHaveLength(2);
    const [, second] = server.sessions;
    page!.tab.frozen = false;
    await pass(100);
    await pass(30_000);
    expect(second!.ended).toBeUndefined();
    await all.clients[0]!.close();
    await pass(100);
    for (const client of all.clients.slice(1)) expect(client.connection.snapshot().state).toBe("open");
  });

  test("a leader that hangs is deposed by a tab that only watches, and only while a tab needs it", async () => {
    const [leader, , tab] = [new Page(), new Page(), new Page()];
    void leader.client.submit("a", 1);
    await pass(50);
    void pages[1]!.client.submit("a", 1, { watch: false });
    await pass(60_000); // this one needs nothing any more
    leader.tab.frozen = true;
    await pass(30_000);
    expect(server.sessions).toHaveLength(1);
    const status = tab.client.watch(server.jobs[0]!.id).next();
    await pass(1050);
    expect(await status).toMatchObject({ value: { state: "pending" } });
    expect(server.sessions).toHaveLength(2);
  });

  test("a leader that is slow to answer, and tabs that sleep, change nothing", async () => {
    const all = await watching(3);
    for (let i = 0; i < 20; i++) {
      pages[0]!.tab.frozen = true;
      await pass(550);
      pages[0]!.tab.frozen = false;
      await pass(50);
    }
    for (let i = 0; i < 5; i++) {
      vi.setSystemTime(Date.now() + 3_600_000);
      await pass(100);
    }
    expect(server.sessions).toHaveLength(1);
    await ends(all, 0, 100);
  });

  test("the server goes away: answers still come, and one new session takes over", async () => {
    const all = await watching(5);
    open()[0]!.send({ type: "goaway", reason: "restart", reconnectAfter: 0.1 });
    await pass(500);
    expect(server.sessions).toHaveLength(2);
    await ends(all, 0, 100);
  });

  test("the connection is lost", async () => {
    const all = await watching(5);
    open()[0]!.cut();
    await ends(all, 0, 2000);
  });

  test("the leader's token is refused: the others go on with theirs", async () => {
    const [a, b] = await dialed(2);
    open()[0]!.close(4500, "unauthenticated");
    await pass();
    expect(a!.ends).toMatchObject([{ code: 4500 }]);
    expect(b!.ends).toMatchObject([{ code: 1012 }]);
  });

  test("closing everything leaves no lock, channel or timer", async () => {
    const all = await watching(3);
    for (const client of all.clients) await client.close();
    await pass(1000);
    expect(origin.channels.size).toBe(0);
    expect(origin.locks.size).toBe(0);
    expect(open()).toHaveLength(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
