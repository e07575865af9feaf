// Questions over HTTP, with the same identity as the sessions, and the rarest order. Loaded when the first is asked.

import type { Batches } from "./batch.js";
import { AckwireError, type Parse, unavailable } from "./errors.js";
import type { JobContext } from "./job.js";
import type { Link } from "./link.js";
import { codeOfStatus, retryableCode } from "./problems_gen.js";
import { rests } from "./rests.js";
import { quote } from "./text.js";
import type { Tokens } from "./token.js";
import type { BatchItem, BatchOptions, BatchResult, CallOptions, Grant, GrantRequest, HistoryPage, HistoryQuery, JobPage, ListQuery, State, Status } from "./types.js";
import { checkID } from "./watch.js";

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
  return new AckwireError({ ...body, status, retryable: body.retryable ?? retryableCode(body.code) });
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

/** The questions of one client. */
export class Rest {
  private readonly base_: string;
  private readonly tokens_: Tokens;
  private readonly fetch_: typeof fetch;
  private readonly parser_: () => Parse | Promise<Parse>;
  /** The sessions of the client. */
  readonly link_: Link;
  private readonly context_: JobContext;
  private batches_: Batches | undefined;

  /** `link` has the sessions, and says why requests are refused, once the client has ended. */
  constructor(
    base: string, tokens: Tokens, fetch: typeof globalThis.fetch, parser: () => Parse | Promise<Parse>,
    link: Link, context: JobContext,
  ) {
    this.base_ = base;
    this.tokens_ = tokens;
    this.fetch_ = fetch;
    this.parser_ = parser;
    this.link_ = link;
    this.context_ = context;
    rests.set(context.client_, this);
  }

  /** Asks for a path, by a method and with a body; once more with a new token when the server does not take the first. */
  private async open_(
    path: string, accept: string, signal?: AbortSignal, body?: string, method = body ? "POST" : "GET",
  ): Promise<Response> {
    for (let again = this.tokens_.renewable_, asked = this.tokens_.current_(); ; again = false) {
      const ended = this.link_.ended_;
      if (ended) throw ended;
      if (signal?.aborted) throw signal.reason;
      const headers: Record<string, string> = { Accept: accept };
      let response: Response;
      try {
        const token = await abortable(asked, signal);
        if (token) headers.Authorization = "Bearer " + token;
        if (body) headers["Content-Type"] = "application/json";
        response = await this.fetch_(this.base_ + path, { method, headers, ...(body && { body }), ...(signal && { signal }) });
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        throw unavailable(method + " " + path, error);
      }
      if (response.ok) return response;
      if (response.status !== 401 || !again) throw await refusal(response);
      asked = this.tokens_.fetch_();
    }
  }

  /** Gets the JSON of a path, or of the answer to a body, and the answer it stood in. */
  private async read_(path: string, signal?: AbortSignal, body?: string, method?: string): Promise<[body: any, response: Response]> {
    const response = await this.open_(path, "application/json", signal, body, method);
    try {
      const answer = (await this.parser_())(await response.text());
      if (Object(answer) !== answer) throw new TypeError("the answer is no object");
      return [answer, response];
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw unavailable("GET " + path, error);
    }
  }

  /** Asks a question of `ackwire/operate`. */
  async ask_(method: string | undefined, path: string, body?: string, signal?: AbortSignal): Promise<unknown> {
    return (await this.read_(path, signal, body, method))[0];
  }

  private async job_(id: string, rest: string, options?: CallOptions): Promise<[body: any, response: Response]> {
    checkID(id);
    return this.read_("/v1/jobs/" + encodeURIComponent(id) + rest, options?.signal);
  }

  async get(id: string, options?: CallOptions): Promise<Status<any>> {
    const [status, response] = await this.job_(id, "", options);
    status.version = Number(/\d+/.exec(response.headers.get("ETag")!)) || 0;
    return status;
  }

  async why(id: string, options?: CallOptions): Promise<unknown> {
    return (await this.job_(id, "/why", options))[0];
  }

  async history(id: string, { limit, cursor, ...options }: HistoryQuery = {}): Promise<HistoryPage> {
    const search = [limit && "limit=" + limit, cursor && "cursor=" + encodeURIComponent(cursor)].filter(Boolean).join("&");
    return (await this.job_(id, "/history" + (search && "?" + search), options))[0];
  }

  async payload(id: string, options?: CallOptions): Promise<unknown> {
    checkID(id);
    return this.content_(id, "/payload", options);
  }

  async deliveries(id: string, options?: CallOptions): Promise<unknown> {
    return (await this.job_(id, "/deliveries", options))[0];
  }

  async erase(id: string, options?: CallOptions): Promise<void> {
    checkID(id);
    const path = "/v1/jobs/" + encodeURIComponent(id);
    const response = await this.open_(path, "application/json", options?.signal, undefined, "DELETE");
    if (response.status !== 204) throw await refusal(response); // a proxy's own answer
  }

  /** Submits a batch over the session. It is here since few programs need it, and its code is loaded then. */
  async submitBatch(items: readonly BatchItem[], options?: BatchOptions): Promise<BatchResult[]> {
    const { Batches } = await import("./batch.js").catch((error) => {
      throw unavailable("import", error);
    });
    return (this.batches_ ??= new Batches(this.link_, this.context_)).submit_(items, options);
  }

  /** Opens a job once more. It is sent once only: it could open the job more often than was asked for. */
  async retry(id: string, options?: CallOptions): Promise<State> {
    checkID(id);
    const body_ = `,"jobId":${quote(id)},"watch":false}`;
    try {
      return (await this.link_.call_({ kind_: "retry", rank_: 1, body_, signal_: options?.signal })).state;
    } finally {
      this.context_.handles_.get(id)?.forEach((handle) => handle.reopened_());
    }
  }

  async stats(options?: CallOptions): Promise<unknown> {
    return (await this.read_("/v1/stats", options?.signal))[0];
  }

  async list({ signal, ...query }: ListQuery = {}): Promise<JobPage> {
    const search: string[] = [];
    for (const [name, values] of Object.entries(query)) {
      for (const value of [values].flat()) {
        if (value === undefined) continue;
        search.push(name + "=" + encodeURIComponent(value instanceof Date ? value.toISOString() : String(value)));
      }
    }
    return (await this.read_("/v1/jobs" + (search.length ? "?" + search.join("&") : ""), signal))[0];
  }

  async grant({ signal, ...request }: GrantRequest): Promise<Grant> {
    return (await this.read_("/v1/grants", signal, JSON.stringify(request)))[0];
  }

  /** Reads a result that a document does not hold: JSON, or a Blob of anything else. */
  async download(id: string, options?: CallOptions): Promise<unknown> {
    return this.content_(id, "/result", options);
  }

  private async content_(id: string, rest: string, { signal }: CallOptions = {}): Promise<unknown> {
    const path = "/v1/jobs/" + encodeURIComponent(id) + rest;
    const response = await this.open_(path, "*/*", signal);
    try {
      const json = /^application\/(.+\+)?json\b/.test(response.headers.get("Content-Type")!);
      return json ? (await this.parser_())(await response.text()) : await response.blob();
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw unavailable("GET " + path, error);
    }
  }
}
