// What the server in memory says about each error code. A test holds this table against schemas/code/codes.json.

import type { ErrorCode } from "../codes_gen.js";
import type { Problem } from "../errors.js";

/** HTTP status, whether the same again may succeed, and the title, by code. */
export const codes = {
  invalid_frame: [400, false, "Invalid frame"],
  unknown_frame: [400, false, "Unknown frame type"],
  validation_failed: [422, false, "Payload is not valid"],
  unknown_job_type: [422, false, "Unknown job type"],
  payload_too_large: [413, false, "Payload too large"],
  headers_too_large: [431, false, "Headers too large"],
  unauthenticated: [401, false, "Not authenticated"],
  forbidden: [403, false, "Forbidden"],
  not_found: [404, false, "Not found"],
  method_not_allowed: [405, false, "Method not allowed"],
  unsupported_media_type: [415, false, "Unsupported media type"],
  upgrade_required: [426, false, "Upgrade required"],
  invalid_state: [409, false, "Not possible in this state"],
  count_differs: [409, false, "Another number of jobs"],
  idempotency_key_reused: [422, false, "Idempotency key reused"],
  invalid_offset: [400, false, "Invalid offset"],
  stream_reset: [410, false, "Stream was reset"],
  stream_gone: [410, false, "Stream is gone"],
  payload_gone: [410, false, "Payload is gone"],
  rate_limited: [429, true, "Too many requests"],
  limit_exceeded: [429, false, "Limit exceeded"],
  overloaded: [503, true, "Overloaded"],
  unavailable: [503, true, "Unavailable"],
  indeterminate: [503, true, "Outcome not known"],
  internal: [500, true, "Internal error"],
} as const satisfies Record<ErrorCode, readonly [number, boolean, string]>;

/** The members of an error with that code, as a real server sends them. */
export function problem(code: ErrorCode, detail?: string, retryAfter?: number): Problem {
  const [, retryable, title] = codes[code];
  const wait = retryAfter !== undefined && { retryAfter };
  return { code, title, ...(detail !== undefined && { detail }), retryable, ...wait };
}

/** An answer that is an error; the sessions and the HTTP routes turn it into their own form. */
export class Refusal extends Error {
  readonly problem: Problem;

  constructor(code: ErrorCode, detail?: string, retryAfter?: number) {
    super(detail ?? code);
    this.problem = problem(code, detail, retryAfter);
  }
}
