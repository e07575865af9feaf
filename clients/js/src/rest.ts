// Questions over HTTP, with the same identity as the sessions.

import { codeOfStatus, retryableCode } from "./codes_gen.js";
import { AckwireError, type Problem } from "./errors.js";
import type { Tokens } from "./token.js";
import type { CallOptions } from "./types.js";

/** Reads a text as JSON; how big integers are read depends on the client. */
export type Parse = (text: string) => any;

/** Makes the error that the server would have answered with. */
export function failure(code: string, detail: string, options?: ErrorOptions): AckwireError {
  return new AckwireError({ code, detail, retryable: retryableCode(code) }, options);
}

/** Says that the network, or a function of the user, did not do its part. */
export function unavailable(what: string, cause: unknown): AckwireError {
  return failure("unavailable", `${what}: ${cause instanceof Error ? cause.message : cause}`, { cause });
}

/** Makes an error of members from the wire, of which any may have the wrong type. */
export function problem(from: any, status?: number): AckwireError {
  const { code, title, detail, retryAfter, jobId, errors } = from;
  const text = (value: unknown) => (typeof value === "string" ? value : undefined);
  return new AckwireError({
    code,
    title: text(title),
    detail: text(detail),
    status,
    retryable: typeof from.retryable === "boolean" ? from.retryable : retryableCode(code),
    retryAfter: retryAfter >= 0 ? +retryAfter : undefined,
    jobId: text(jobId),
    errors: Array.isArray(errors) ? errors : undefined,
  } as Problem);
}

/** Reads the error of an HTTP answer: its problem document, else the code that fits the status of a proxy. */
export async function refusal(response: Response): Promise<AckwireError> {
  const { status } = response;
  let body: any;
  try {
    body = JSON.parse(await response.text());
  } catch {
    // Not Ackwire's own answer.
  }
  if (typeof body?.code !== "string") body = { code: codeOfStatus(status), detail: `the server answered ${status}` };
  const after = response.headers.get("Retry-After");
  if (after && body.retryAfter === undefined) {
    body.retryAfter = /^\d+$/.test(after) ? +after : Math.max(0, (Date.parse(after) - Date.now()) / 1000);
  }
  return problem(body, status);
}

/** Waits for a promise, or rejects with the signal's reason. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Requests of one client. */
export class Rest {
  readonly base_: string;
  /** Why requests are refused; set when the client has ended. */
  ended_: AckwireError | undefined;
  private readonly tokens_: Tokens;
  private readonly fetch_: typeof fetch;
  private readonly parser_: () => Promise<Parse>;

  constructor(base: string, tokens: Tokens, fetch: typeof globalThis.fetch, parser: () => Promise<Parse>) {
    this.base_ = base;
    this.tokens_ = tokens;
    this.fetch_ = fetch;
    this.parser_ = parser;
  }

  /** Gets a path; once more with a new token when the server does not take the first. */
  async open_(path: string, accept: string, { signal }: CallOptions = {}): Promise<Response> {
    for (let again = this.tokens_.renewable_, asked = this.tokens_.current_(); ; again = false) {
      if (this.ended_) throw this.ended_;
      if (signal?.aborted) throw signal.reason;
      const headers: Record<string, string> = { Accept: accept };
      let response: Response;
      try {
        const token = await abortable(asked, signal);
        if (token) headers.Authorization = "Bearer " + token;
        response = await this.fetch_(this.base_ + path, { headers, ...(signal && { signal }) });
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        throw error instanceof AckwireError ? error : unavailable("GET " + path, error);
      }
      if (response.ok) return response;
      if (response.status !== 401 || !again) throw await refusal(response);
      asked = this.tokens_.fetch_();
    }
  }

  /** Gets what a path serves: JSON, or a Blob of anything else. */
  async content_(path: string, options?: CallOptions): Promise<unknown> {
    const response = await this.open_(path, "*/*", options);
    const json = /^application\/(.+\+)?json\b/.test(response.headers.get("Content-Type")!);
    return json ? (await this.parser_())(await response.text()) : response.blob();
  }

  /** Gets a path's JSON, and the answer it stood in. */
  async get_(path: string, options?: CallOptions): Promise<[body: any, response: Response]> {
    const response = await this.open_(path, "application/json", options);
    try {
      const body = (await this.parser_())(await response.text());
      if (Object(body) !== body) throw new TypeError("the answer is no object");
      return [body, response];
    } catch (error) {
      if (options?.signal?.aborted) throw options.signal.reason;
      throw unavailable("GET " + path, error);
    }
  }
}
