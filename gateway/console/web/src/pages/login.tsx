// The page before there is a user: it sends the user to the identity provider, or asks for a token. Either is kept in
// memory only.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { login, type Session, told } from "../api.js";
import { useLate } from "../components/basics.js";
import { leaveForProvider } from "../oidc.js";

export function Login({ why, provider }: { why: string; provider: string | undefined }) {
  if (!provider) return <Card why={why}><ByToken /></Card>;
  return (
    <Card why={why}>
      <ByProvider provider={provider} />
      <details>
        <summary>Use an access token instead</summary>
        <ByToken />
      </details>
    </Card>
  );
}

const Card = ({ why, children }: { why: string; children: ComponentChildren }) => (
  <main class="login">
    <div class="card">
      <h1><Mark /> Ackwire console</h1>
      {why && <p class="banner bad" role="alert">{why}</p>}
      {children}
    </div>
  </main>
);

function ByProvider({ provider }: { provider: string }) {
  const [busy, set] = useState(false);
  const [trouble, fail] = useState("");
  const start = async () => {
    set(true);
    fail("");
    await leaveForProvider().catch((error) => {
      fail(told(error));
      set(false);
    });
  };
  return (
    <>
      {trouble && <p class="banner bad" role="alert">{trouble}</p>}
      <button class="primary" disabled={busy} onClick={start} autofocus>Log in with {provider}</button>
      <p class="dim">What you see and may do is what your account permits. The login stays in the memory of this page: a reload asks the provider again.</p>
    </>
  );
}

function ByToken() {
  const [busy, set] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const field = (event.target as HTMLFormElement).elements.namedItem("token") as HTMLInputElement;
    set(true);
    await login(field.value);
    set(false);
  };
  return (
    <form onSubmit={submit}>
      <label for="token">Access token</label>
      <input id="token" name="token" type="password" autocomplete="off" spellcheck={false} required autofocus disabled={busy} />
      <p class="dim">It stays in the memory of this page: nothing is stored, and a reload asks again. What you see and may do is what the token permits;
        one with the permission <code>operate</code> sees the jobs of every tenant.</p>
      <button class="primary" disabled={busy}>Open</button>
    </form>
  );
}

/** What is shown until the gateway has said who the user is. */
export function Starting({ session }: { session: Extract<Session, { kind: "starting" | "away" }> }) {
  const late = useLate(true);
  if (!late) return null;
  return (
    <main class="login" aria-busy="true">
      <div class="card" role="status">
        <h1><Mark /> Ackwire console</h1>
        <p>{session.kind === "away" ? session.why + ". The page tries again by itself." : "Asking the gateway…"}</p>
      </div>
    </main>
  );
}

export const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
    <rect width="32" height="32" rx="8" class="mark-back" />
    <path d="M8 17l5 5 11-12" class="mark-tick" />
  </svg>
);
