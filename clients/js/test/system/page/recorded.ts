// A transport that tells what passes through another one, as records of a history.

import type { Session, SessionEvents, Target, Transport } from "ackwire";
import type { Record } from "../lib/history.js";

/** `client` is the page's number in the history: sockets are counted from 1 for each. */
export function recorded(inner: Transport, client: number, add: (r: Record) => void): Transport {
  let sockets = 0;
  return {
    name: inner.name,
    open(target: Target, events: SessionEvents): Session {
      const n = ++sockets;
      const record = (r: Record) => add({ ...r, c: client, n });
      const asked = new Map<string, { type: string; watch: boolean; jobs: string[] }>();
      let welcomed = false;
      const session = inner.open(target, {
        frame(text) {
          const f = JSON.parse(text);
          const q = asked.get(f.id);
          switch (f.type) {
            case "welcome":
              if (!welcomed) record({ k: "open" });
              welcomed = true;
              break;
            case "ack":
              if (q?.type === "submit") record({ k: "ack", j: f.jobId, w: q.watch });
              if (q?.type === "retry") record({ k: "retry", j: f.jobId });
              break;
            case "subscribed":
              for (const j of f.jobs ?? []) record({ k: "watched", j: j.jobId, v: j.version, reset: j.reset, text: j.error });
              if (f.mine) record({ k: "watched" });
              break;
            case "error":
              if (q?.type === "subscribe") for (const j of q.jobs) record({ k: "watched", j, text: f.code });
              break;
            case "status":
              record({ k: "status", j: f.job.jobId, v: f.version, s: f.job.state });
              break;
          }
          events.frame(text);
        },
        closed(code, reason, error) {
          if (welcomed) record({ k: "close", text: String(code) });
          events.closed(code, reason, error);
        },
      });
      return {
        send(text) {
          const f = JSON.parse(text);
          const jobs = f.type === "subscribe" ? (f.jobs ?? []) : [];
          for (const j of jobs) record({ k: "watch", j: j.jobId, v: j.after });
          if (f.type === "subscribe" && f.mine) record({ k: "watch" });
          asked.set(f.id, { type: f.type, watch: f.watch !== false, jobs: jobs.map((j: { jobId: string }) => j.jobId) });
          session.send(text);
        },
        close: (code, reason) => session.close(code, reason),
      };
    },
  };
}
