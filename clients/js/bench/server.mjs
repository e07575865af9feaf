// A server of the benchmarks: speaks as much of ackwire.v1, and of centrifuge's JSON protocol (version 2), as a page
// needs that follows jobs. Both sides are told the same documents. Bytes are those of the messages.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

export class Server {
  version = 1;
  sent = 0;
  received = 0;
  sockets = new Set();
  jobs = [];
  down = false;

  async start(script) {
    this.http = createServer((q, r) => {
      const js = q.url === "/page.js";
      r.setHeader("Content-Type", js ? "text/javascript" : "text/html");
      r.end(js ? script : `<!doctype html><script type="module" src="/page.js"></script>`);
    });
    const ws = new WebSocketServer({ noServer: true });
    this.http.on("upgrade", (q, socket, head) => {
      if (this.down) return socket.destroy();
      ws.handleUpgrade(q, socket, head, (s) => {
        const peer = q.url.startsWith("/connection") ? this.centrifuge(s) : this.ackwire(s);
        this.sockets.add(peer);
        s.on("close", () => this.sockets.delete(peer));
        s.on("message", (m) => { this.received += m.length; peer.take(m.toString()); });
      });
    });
    await new Promise((resolve) => this.http.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.http.address().port}`;
  }

  document(jobId) {
    return { jobId, type: "report.generate", state: "processing", attempt: 1, maxAttempts: 3,
      createdAt: "2026-01-01T00:00:00Z", updatedAt: "2026-01-01T00:00:01Z", startedAt: "2026-01-01T00:00:00.5Z",
      progress: { percent: this.version % 100, message: "rows are read", current: this.version, total: 1000 } };
  }

  send(socket, text) { this.sent += text.length; socket.send(text); }

  ackwire(socket) {
    this.send(socket, JSON.stringify({ type: "welcome", connection: "c", protocol: "ackwire.v1", pingInterval: 25,
      limits: { frameBytes: 262144, subscriptions: 1000, inFlightSubmits: 64 } }));
    const tell = (jobId) => this.send(socket, JSON.stringify({ type: "status", version: this.version, job: this.document(jobId) }));
    return {
      socket, tell,
      take: (text) => {
        const f = JSON.parse(text);
        if (f.type === "ping") this.send(socket, JSON.stringify({ type: "pong", id: f.id }));
        if (f.type !== "subscribe") return;
        this.send(socket, JSON.stringify({ type: "subscribed", id: f.id, jobs: f.jobs.map(({ jobId }) => ({ jobId, version: this.version })) }));
        for (const { jobId, after } of f.jobs) if (!(after >= this.version)) tell(jobId);
      },
    };
  }

  centrifuge(socket) {
    const publication = (channel) => ({ data: this.document(channel), offset: this.version });
    return {
      socket,
      tell: (channel) => this.send(socket, JSON.stringify({ push: { channel, pub: publication(channel) } })),
      take: (text) => {
        const replies = [];
        for (const line of text.split("\n")) {
          if (!line) continue;
          const { id, connect, subscribe } = JSON.parse(line);
          if (connect) replies.push({ id, connect: { client: "c", version: "6", ping: 25, pong: true } });
          if (subscribe) {
            // The first time its job is told at once, as cache recovery does; later what was missed.
            const missed = (subscribe.offset ?? 0) < this.version;
            replies.push({ id, subscribe: { recoverable: true, epoch: "e", offset: this.version, recovered: true, was_recovering: !!subscribe.recover,
              ...(missed && { publications: [publication(subscribe.channel)] }) } });
          }
        }
        if (replies.length) this.send(socket, replies.map((r) => JSON.stringify(r)).join("\n"));
      },
    };
  }

  /** Tells every socket a new version of each job, `perSecond` of them, for some seconds. */
  async publish(jobs, perSecond, seconds) {
    const per = perSecond / 50;
    let next = 0, told = 0;
    const from = performance.now();
    for (let tick = 1; tick <= seconds * 50; tick++) {
      for (let i = 0; i < per; i++) {
        if (next === 0) this.version++;
        for (const p of this.sockets) p.tell(jobs[next]);
        told++;
        next = (next + 1) % jobs.length;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, from + tick * 20 - performance.now())));
    }
    return told;
  }

  cut() { for (const { socket } of this.sockets) socket.terminate(); }
  stop() { this.cut(); this.http.close(); }
}
