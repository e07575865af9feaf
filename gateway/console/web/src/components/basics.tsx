// The small parts of all pages.

import type { State } from "ackwire";
import { told } from "../api.js";
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { go, href } from "../router.js";
import { useCell } from "../state.js";
import { visible } from "../text.js";
import { ago, inUTC, now, utc } from "../time.js";
import { notify } from "./Toasts.js";

/** A link to another page of the console. */
export function A({ to, children, ...rest }: { to: string; children: ComponentChildren; class?: string | undefined; "aria-current"?: "page" | undefined; title?: string; tabIndex?: number }) {
  const click = (event: MouseEvent) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return <a {...rest} href={href(to)} onClick={click}>{children}</a>;
}

/** A job's state: its colour and its word. */
export const StateMark = ({ state, cancelling }: { state: State; cancelling?: boolean | undefined }) => (
  <span class={`state ${state}`}>{cancelling && state === "processing" ? "cancelling" : state}</span>
);

/** A time: how long ago, or in UTC if the user likes that better; the other one is its tooltip. */
export function Time({ at, both }: { at: string | undefined; both?: boolean }) {
  const time = useCell(now);
  const exact = useCell(utc);
  if (!at) return <span class="none">–</span>;
  const ms = Date.parse(at);
  const relative = ago(ms, time);
  if (both) return <time dateTime={at}>{inUTC(ms, true)} <span class="dim">{relative}</span></time>;
  return <time dateTime={at} title={exact ? relative : inUTC(ms, true)}>{exact ? inUTC(ms) : relative}</time>;
}

/** How far a job has come. */
export function Bar({ percent, label }: { percent: number; label: string }) {
  const n = Math.max(0, Math.min(100, Number(percent) || 0));
  return (
    <span class="bar" role="progressbar" aria-label={label} aria-valuenow={Math.round(n)} aria-valuemin={0} aria-valuemax={100}>
      <span style={{ transform: `scaleX(${n}%)` }} />
    </span>
  );
}

/** A button. One that is off says why when it is touched or pressed, and stays in reach of the keyboard. */
export function Button({ off, onClick, children, kind = "" }: { off?: string | undefined; onClick(): void; children: ComponentChildren; kind?: string }) {
  return (
    <button class={kind} aria-disabled={off ? "true" : undefined} title={off} data-why={off}
      aria-description={off} onClick={() => (off ? notify(off + ".") : onClick())}>
      {children}
    </button>
  );
}

/** Copies a text. */
export function Copy({ text, label, children }: { text: string; label?: string; children: ComponentChildren }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      notify("Copied.");
    } catch {
      notify("The browser does not let the page copy. Select the text instead.", true);
    }
  };
  return <button class="quiet" aria-label={label} title={label} onClick={copy}>{children}</button>;
}

export const CopyIcon = () => (
  <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" class="icon">
    <path d="M5.5 5.5V2.5h8v8h-3M2.5 5.5h8v8h-8z" />
  </svg>
);

/** What is shown where there is nothing. */
export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
  <div class="empty"><h2>{title}</h2>{children && <p>{children}</p>}</div>
);

/** Whether something has lasted long enough that people want to be told: nothing flickers before. */
export function useLate(waiting: boolean, ms = 250): boolean {
  const [late, set] = useState(false);
  useEffect(() => {
    set(false);
    if (!waiting) return;
    const timer = setTimeout(() => set(true), ms);
    return () => clearTimeout(timer);
  }, [waiting]);
  return waiting && late;
}

/** Says that nothing could be read, and why; nothing without an error. */
export const Fails = ({ error }: { error: unknown }) =>
  error === undefined ? null : <p class="banner bad" role="alert">{visible(told(error))}. The page tries again by itself.</p>;

/** Says that something is being read, once that has lasted. */
export const Reading = ({ on }: { on: boolean }) => (useLate(on) ? <p class="dim" role="status">Reading…</p> : null);

/** A page that the user may not see. */
export const Needs = ({ title, why }: { title: string; why: string }) => <><h1>{title}</h1><Empty title="Not with this token">{why}.</Empty></>;

/** Asks something before it is done. */
export interface Question {
  text: string;
  detail: string;
  yes: string;
  act(): void;
}
