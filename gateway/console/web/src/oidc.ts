// The login by an identity provider: the browser goes there and comes back with a code, which the gateway exchanges for
// a token. The token is in memory only, as a pasted one is.

import { Refused, refusal, root } from "./api.js";

/** What the gateway gives for a code. */
export interface Tokens {
  token: string;
  /** Gets another token when this one expires. */
  refresh?: string;
}

const backKey = "ackwire-console.back"; // the page to which the user comes back; no secret
const callback = "callback";

async function told(path: string, init?: RequestInit): Promise<any> {
  const response = await fetch(root.href + path, { ...init, cache: "no-store" }).catch(() => {
    throw new Refused(0, "unreachable", "");
  });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

const post = (path: string, body: unknown): Promise<any> =>
  told(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

/** The name of the provider, if there is one. */
export const provider = async (): Promise<string | undefined> => ((await told("login")) as { provider?: string }).provider;

/** Leaves the page for the provider. */
export async function leaveForProvider(): Promise<void> {
  const { url } = (await post("login", { redirect: root.href + callback })) as { url: string };
  try {
    sessionStorage.setItem(backKey, location.pathname.slice(root.pathname.length) + location.search);
  } catch {
    // The user comes back to the first page.
  }
  location.assign(url);
}

/** Takes what the provider has sent the browser back with; undefined if it did not come from there. */
export async function comeBack(): Promise<Tokens | undefined> {
  if (location.pathname !== root.pathname + callback) return;
  const answer = new URLSearchParams(location.search);
  let back = "";
  try {
    back = sessionStorage.getItem(backKey) ?? "";
    sessionStorage.removeItem(backKey);
  } catch {
    // As above.
  }
  // Before anything else: a code belongs into no history, and works only once.
  history.replaceState(null, "", root.pathname + (back.startsWith(callback) || back.startsWith("/") ? "" : back));
  dispatchEvent(new PopStateEvent("popstate"));
  const error = answer.get("error");
  if (error) {
    throw new Refused(401, "unauthenticated", `The provider did not let you in: ${answer.get("error_description") ?? error}`);
  }
  const [code, state, iss] = ["code", "state", "iss"].map((name) => answer.get(name) ?? undefined);
  return (await post("token", { code, state, iss })) as Tokens;
}

/** Gets another token. */
export const renew = (refresh: string): Promise<Tokens> => post("token", { refresh }) as Promise<Tokens>;
