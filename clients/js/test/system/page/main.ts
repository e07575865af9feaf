// The page of the tests in a browser: a client whose frames are recorded, and what a test does with it.

import { connect, webSocket, type Ackwire, type Job } from "ackwire";
import { offline, type Outbox } from "ackwire/offline";
import { tabs } from "ackwire/tabs";
import type { Record } from "../lib/history.js";
import { recorded } from "./recorded.js";

declare global {
  interface Window {
    /** Exposed by the test: writes to the history. */
    record(r: Record): void;
    /** Exposed by the test: a number that no page had before. */
    nextClient(): Promise<number>;
    /** Exposed by the test: a token for the page's user. */
    fetchToken(user: string): Promise<string>;
    app: typeof app;
  }
}

/** How a page's client is made. */
export interface Open {
  url: string;
  /** Whose tokens are fetched; none without it. */
  user?: string;
  /** One socket for all tabs. */
  tabs?: boolean;
  /** An outbox for `user`. */
  offline?: boolean;
}

let client: Ackwire;
let outbox: Outbox | undefined;
const seen = { asked: 0, acked: [] as string[], ended: {} as { [id: string]: string }, errors: [] as string[] };

async function follow(job: Job): Promise<void> {
  let version = 0, state = "";
  for await (const s of job) {
    if (s.version <= version) seen.errors.push(`${job.id}: version ${s.version} after ${version}`);
    version = s.version;
    state = s.state;
  }
  if (!["completed", "failed", "cancelled"].includes(state)) seen.errors.push(`${job.id}: its watch ended with ${state}`);
  seen.ended[job.id] = state;
}

const app = {
  async open(o: Open): Promise<void> {
    const number = await window.nextClient();
    const socket = recorded(o.tabs ? tabs(o.user ? { user: o.user } : {}) : webSocket(), number, (r) => window.record(r));
    const user = o.user;
    client = connect({ url: o.url, transports: [socket], ...(user && { token: () => window.fetchToken(user) }) });
    outbox = o.offline ? offline(client, { user: user ?? "nobody" }) : undefined;
  },

  /** Submits each payload, through the outbox where there is one, and follows each job to its end. */
  submit(type: string, payloads: unknown[]): void {
    for (const p of payloads) {
      seen.asked++;
      const submitted = outbox ? outbox.submit(type, p) : client.submit(type, p);
      submitted.then((job) => {
        seen.acked.push(job.id);
        return follow(job as Job);
      }).catch((e: unknown) => seen.errors.push(String(e)));
    }
  },

  /** Follows jobs by their IDs. */
  watch(ids: string[]): void {
    for (const id of ids) follow(client.job(id)).catch((e: unknown) => seen.errors.push(String(e)));
  },

  seen: () => ({ ...seen, pending: outbox?.pending().snapshot().length ?? 0, connection: client.connection.snapshot().state }),

  close: () => client.close(),
};

window.app = app;
