// What the benchmarks run in a page: this client, a bare WebSocket, and centrifuge, each doing the same.

import { connect, type Ackwire, type Status } from "ackwire";
import { Centrifuge } from "centrifuge";

const latest = new Map<string, Status>();
const ids = (n: number) => Array.from({ length: n }, (_, i) => `00000000-0000-7000-8000-${String(i).padStart(12, "0")}`);

/** One side of a comparison: `follow` resolves once every job's first status is there. */
interface Side {
  follow(url: string, jobs: number): Promise<void>;
  /** Resolves once every job has a status of at least this version. */
  caughtUp(version: number): Promise<void>;
  close(): void;
}

function waiter(jobs: () => number) {
  let wanted = 0, behind = new Set<string>(), done: (() => void) | undefined;
  return {
    take(s: { jobId: string; version: number }): void {
      latest.set(s.jobId, s as Status);
      if (done && s.version >= wanted && behind.delete(s.jobId) && behind.size === 0) done();
    },
    reach(version: number): Promise<void> {
      wanted = version;
      behind = new Set(ids(jobs()).filter((id) => (latest.get(id)?.version ?? 0) < version));
      return new Promise((resolve) => { done = resolve; if (behind.size === 0) resolve(); });
    },
  };
}

function ours(): Side {
  let client: Ackwire, count = 0;
  const w = waiter(() => count);
  return {
    follow(url, jobs) {
      count = jobs;
      client = connect({ url });
      const first = w.reach(1);
      for (const id of ids(jobs)) {
        const job = client.job(id);
        job.subscribe(() => { const { status } = job.snapshot(); if (status) w.take(status); });
      }
      return first;
    },
    caughtUp: (version) => w.reach(version),
    close: () => void client.close(),
  };
}

function bare(): Side {
  let socket: WebSocket, count = 0, closed = false;
  const w = waiter(() => count);
  const open = (url: string) => {
    socket = new WebSocket(url.replace("http", "ws") + "/v1/ws", "ackwire.v1");
    socket.onopen = () => socket.send(JSON.stringify({
      type: "subscribe", id: "1", jobs: ids(count).map((jobId) => ({ jobId, after: latest.get(jobId)?.version })),
    }));
    socket.onmessage = ({ data }) => {
      const f = JSON.parse(data);
      if (f.type === "status") { f.job.version = f.version; w.take(f.job); }
    };
  };
  return {
    follow(url, jobs) {
      count = jobs;
      open(url);
      addEventListener("online", () => { if (!closed) open(url); });
      return w.reach(1);
    },
    caughtUp: (version) => w.reach(version),
    close: () => { closed = true; socket.close(); },
  };
}

function centrifuge(): Side {
  let client: Centrifuge, count = 0;
  const w = waiter(() => count);
  return {
    follow(url, jobs) {
      count = jobs;
      client = new Centrifuge(url.replace("http", "ws") + "/connection/websocket");
      for (const id of ids(jobs)) {
        const sub = client.newSubscription(id);
        sub.on("publication", ({ data, offset }) => { data.version = offset; w.take(data); });
        sub.subscribe();
      }
      client.connect();
      return w.reach(1);
    },
    caughtUp: (version) => w.reach(version),
    close: () => client.disconnect(),
  };
}

const sides = { ours, bare, centrifuge };
let side: Side;

const bench = {
  /** Milliseconds until every job's first status is there. */
  async follow(name: keyof typeof sides, url: string, jobs: number): Promise<number> {
    latest.clear();
    side = sides[name]();
    const from = performance.now();
    await side.follow(url, jobs);
    return performance.now() - from;
  },
  /** Tells the page that the network is back; milliseconds until every job has this version. */
  async resume(version: number): Promise<number> {
    const from = performance.now();
    const caughtUp = side.caughtUp(version);
    dispatchEvent(new Event("online"));
    await caughtUp;
    return performance.now() - from;
  },
  close: () => side.close(),
};

declare global { interface Window { bench: typeof bench } }
window.bench = bench;
