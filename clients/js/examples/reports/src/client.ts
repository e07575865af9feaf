// The page's client: one socket for all tabs, behind the switch, with an outbox for what is submitted offline.

import { connect } from "ackwire";
import { offline } from "ackwire/offline";
import { tabs } from "ackwire/tabs";
import { remember, type Report } from "./names.js";
import { createNetwork } from "./network.js";

export const network = createNetwork();

export const client = connect({
  transports: [network.through(tabs())],
  fetch: network.fetch,
  wake: network.wake,
});

/** Keeps submits in IndexedDB until they are jobs. This page has no login; otherwise `user` is the token's subject. */
export const outbox = offline(client, {
  user: "demo",
  onAcked: (submit, job) => remember(job.id, submit.payload as Report),
});
