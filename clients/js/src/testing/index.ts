/**
 * A server in memory, for the tests of programs that use `ackwire`: it speaks the real protocol, so that the program
 * under test runs unchanged.
 *
 * What it is not: there is one tenant, payloads are not held to a schema, no webhook is sent (a job's deliveries are an
 * empty list), a bulk action is done at once and skips nothing, `workers` tells what `showWorkers` has set, nothing is
 * limited but what `limits` says, and jobs are kept until `expire`.
 *
 * @module
 */

export { createServer } from "./server.js";
export type { RefuseOptions, ServerJob, ServerOptions, TestServer, TestSession } from "./server.js";
export { Failure } from "./job.js";
export type { Handler, ProgressDetails, ResultFile, TestJob } from "./job.js";
export type { Limits, Refusable } from "./engine.js";
export type { Frame } from "./session.js";
export type { Submit } from "./record.js";
