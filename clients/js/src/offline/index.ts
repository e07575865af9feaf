/**
 * An outbox for `ackwire`: submits that are made offline, or while a page dies, are kept and become exactly one job
 * each.
 *
 * @module
 */

export { offline } from "./outbox.js";
export type { Outbox, OutboxOptions, OutboxSubmitOptions, PendingSubmit } from "./outbox.js";
export { indexedDBStorage } from "./storage.js";
export type { OutboxStorage } from "./storage.js";
