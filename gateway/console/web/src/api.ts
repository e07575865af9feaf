// What the page asks the gateway, and as whom.

import { connect, type Ackwire, type FieldError } from "ackwire";
import { comeBack, provider, renew, type Tokens } from "./oidc.js";
import { Cell } from "./state.js";

/** The console's own folder, with a slash at its end, wherever a proxy has put it. */
export const root = new URL("../", import.meta.url);
/** The gateway's API, without a slash at its end. */
export const gateway = new URL("../", root).href.replace(/\/$/, "");

/** Who the user is, as the gateway says. */
export interface Me {
  tenant: string;
  subject?: string;
  permissions: string[];
  anonymous: boolean;
  limited?: boolean;
  expiresAt?: number;
}

/** How the page stands: it has a user, asks for a token (and says why), or waits for the gateway. */
export type Session =
  | { kind: "starting" }
  | { kind: "away"; why: string }
  | { kind: "login"; why: string; provider?: string | undefined }
  | { kind: "in"; me: Me; client: Ackwire };

export const session = new Cell<Session>({ kind: "starting" });

/** Since when the gateway does not answer, and what the last try told; undefined while all is well. */
export const trouble = new Cell<{ since: number; why: string } | undefined>(undefined);

// In memory only: a page that is loaded again asks for them again.
let token: string | undefined;
let refresh: string | undefined; // gets the next token
let renewAt = Infinity; // when, in milliseconds
let renewing: Promise<void> | undefined;
let offered: string | undefined; // the provider of logins

/** An answer that is an error, or none. */
export class Refused extends Error {
  constructor(readonly status: number, readonly code: string, readonly detail: string, readonly errors: readonly FieldError[] = []) {
    super(detail || code);
  }
}

/** Says an error to people. */
export function told(error: unknown): string {
  if (!(error instanceof Refused)) return error instanceof Error ? error.message : String(error);
  switch (error.code) {
    case "unreachable":
      return "The gateway cannot be reached";
    case "unavailable":
      return `The gateway answers, but ${error.detail || "a part of the system is away"}`;
    case "not_found":
      return "It is not there, or your token may not see it";
    case "rate_limited":
      return "You ask more often than your limits allow";
    case "overloaded":
      return "The gateway has too much to do right now";
  }
  return error.detail || error.code;
}

// How long a read may go unanswered, in milliseconds. The browser may have some more connections that are dead, and takes
// one after the other: after the first it is given up sooner.
const patience = 15_000;
const hurry = 4000;
let silences = 0; // reads in a row that were not answered

/** Asks for a path of the API. Fails with a Refused, or with the signal's reason. */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  await fresh();
  const sent = token;
  if (sent) headers.set("Authorization", "Bearer " + sent);
  // A connection that has died without a word, such as while the machine was asleep, must not hold up a read for ever.
  const { signal, method } = init;
  const late = new AbortController();
  const timer = method ? undefined : setTimeout(() => late.abort(), silences % 6 ? hurry : patience);
  let response: Response;
  try {
    response = await fetch(gateway + path, { ...init, headers, cache: "no-store", signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    if (late.signal.aborted) silences++;
    const refused = new Refused(0, "unreachable", "");
    ails(refused);
    throw refused;
  } finally {
    clearTimeout(timer);
  }
  silences = 0;
  if (response.ok) {
    trouble.set(undefined);
    return response;
  }
  const refused = await refusal(response);
  if (response.status === 401 && session.get().kind === "in" && sent === token) {
    leave(!sent ? "This gateway asks for a token now." : offered ? expired : "Your token is no longer valid. Paste a new one to go on.");
  } else if (response.status >= 500) ails(refused);
  throw refused;
}

function ails(error: Refused): void {
  trouble.set({ since: trouble.get()?.since ?? Date.now(), why: told(error) });
}

export async function refusal(response: Response): Promise<Refused> {
  try {
    const { code, detail, title, errors } = (await response.json()) as { code?: string; detail?: string; title?: string; errors?: FieldError[] };
    if (code) return new Refused(response.status, code, detail ?? title ?? "", errors);
  } catch {
    // Not the gateway's own answer: a proxy's.
  }
  return new Refused(response.status, response.status >= 500 ? "unavailable" : "unknown", `the server answered ${response.status}`);
}

/** Asks for the JSON of a path. */
export async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await ask(path, signal ? { signal } : {})).json()) as T;
}

/** Sends JSON to a path, by POST, and returns the JSON that is answered. A text is sent as it is. */
export async function send<T>(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const init = text === undefined ? { headers } : { headers: { ...headers, "Content-Type": "application/json" }, body: text };
  return (await (await ask(path, { method: "POST", ...init })).json()) as T;
}

const expired = "Your login has expired. Log in again to go on.";

/** Keeps what the provider gave. */
function take(given: Tokens): void {
  token = given.token;
  refresh = given.refresh;
}

/** Notes when the token must be renewed: when two thirds of the time that it has left are over. */
function noteExpiry({ expiresAt }: Me): void {
  const left = expiresAt ? expiresAt * 1000 - Date.now() : Infinity;
  renewAt = refresh && left < Infinity ? Date.now() + (2 / 3) * left : Infinity;
}

/** Renews the token if it is time for that. */
async function fresh(): Promise<void> {
  if (Date.now() < renewAt) return renewing;
  renewAt = Infinity;
  renewing = (async () => {
    try {
      take(await renew(refresh!));
    } catch (error) {
      if (error instanceof Refused && error.status === 401) leave(expired);
      else renewAt = Date.now() + 5000; // the old one is still good for a while
      return;
    } finally {
      renewing = undefined;
    }
    renewAt = Date.now() + 5000; // should the next line fail
    const me = await read<Me>("/console/session");
    noteExpiry(me);
    const now = session.get();
    if (now.kind === "in") session.set({ ...now, me });
  })();
  return renewing;
}

/** The token as it is needed now. */
async function current(): Promise<string> {
  await fresh();
  return token ?? "";
}

/** Finds out who the user is, until that is known or a token is needed. */
export async function begin(): Promise<void> {
  try {
    const given = await comeBack();
    if (given) take(given);
  } catch (error) {
    offered = await provider().catch(() => undefined);
    session.set({ kind: "login", why: told(error), provider: offered });
    return;
  }
  for (let wait = 250; ; wait = Math.min(2 * wait, 5000)) {
    try {
      const me = await read<Me>("/console/session");
      // Documents are shown by their text; the client's own copies only keep integers whole.
      const client = connect({
        url: gateway, bigints: "bigint", ...(token && { token: refresh ? current : token, tickets: true }), backoff: { base: 100, cap: 3000 },
      });
      client.connection.subscribe(() => {
        const { state, error } = client.connection.snapshot();
        if (state === "closed" && error && session.get().kind === "in") void check();
      });
      noteExpiry(me);
      session.set({ kind: "in", me, client });
      return;
    } catch (error) {
      if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
        offered = await provider().catch(() => offered);
        session.set({ kind: "login", why: token ? refusedToken(error) : "", provider: offered });
        forget();
        return;
      }
      session.set({ kind: "away", why: told(error) });
      await new Promise((again) => setTimeout(again, wait));
    }
  }
}

/** The client has ended for good: its token did. The next request tells. */
async function check(): Promise<void> {
  await read("/console/session").catch(() => {});
  const now = session.get();
  if (now.kind === "in" && now.client.connection.snapshot().state === "closed") await begin();
}

function refusedToken(error: Refused): string {
  return error.status === 401 ? "The gateway does not take this token: it has expired, or is for another system." : told(error);
}

/** Goes on with a token. */
export async function login(given: string): Promise<void> {
  token = given.trim() || undefined;
  await begin();
}

function forget(): void {
  token = refresh = undefined;
  renewAt = Infinity;
}

/** Forgets the token, and asks for another. */
export function leave(why: string): void {
  const was = session.get();
  forget();
  session.set({ kind: "login", why, provider: offered });
  trouble.set(undefined);
  if (was.kind === "in") void was.client.close();
}

/** The user's client. Components that use it are only there while there is one. */
export function clientNow(): Ackwire {
  const now = session.get();
  if (now.kind !== "in") throw new Error("no session");
  return now.client;
}
