// The leader's part: one session at the server for all tabs, as a small gateway between the two.

import type { Session, SessionEvents, Target, Transport } from "../types.js";

const maxLog = 500; // frames of a watch of all jobs that are kept for tabs that join it
const maxLast = 2000; // jobs whose last status is kept for tabs that join their watch
const all = ""; // stands for all jobs of the subject, among the jobs that tabs watch

/** A tab that uses the session, the leader's own included. */
interface Tab {
  id_: string;
  /** Its number here: what its frames' IDs begin with at the server. */
  no_: number;
  /** Submits, cancels and retries that wait for their turn. */
  queue_: [id: string, text: string, watches: boolean][];
}

/** The session as its leader uses it. */
export interface Hub {
  /** A tab says that it is there; returns whether it is new. */
  join_(id: string): boolean;
  /** A tab has gone: what only it watched is watched no more. */
  part_(id: string): void;
  /** A tab sends a frame. */
  send_(id: string, text: string): void;
  close_: Session["close"];
}

type Frame = any;

/**
 * Opens the session. `deliver` hands a frame to tabs; `alone` has a tab use a session of its own; `leaving` says that
 * the server goes away.
 */
export function openHub(
  transport: Transport, target: Target, own: string, deliver: (tabs: string[], text: string) => void,
  alone: (tab: string) => void, leaving: () => void, closed: SessionEvents["closed"],
): Hub {
  const tabs = new Map<string, Tab>();
  let count = 0;
  let welcome: string | undefined;
  let limits: Frame = {};
  /** Submits, cancels and retries that are not answered, and whether their job is watched from then on. */
  const flight = new Map<string, boolean>();
  const watches = new Map<string, Set<Tab>>();
  /** The last status of a job that this session has brought: the server does not send it twice. */
  const last = new Map<string, string>();
  /** What came of all jobs since the first tab has asked for them: cursors, and statuses. */
  let log: [cursor: string | undefined, text?: string][] = [];

  const tell = (to: Iterable<Tab>, text: string) => deliver(Array.from(to, (tab) => tab.id_), text);
  const ask = (frame: object) => server.send(JSON.stringify(frame));
  const withID = (text: string, from: string, to: string) => text.replace(`"id":"${from}"`, `"id":"${to}"`);
  const watch = (tab: Tab, jobId: string) => watches.set(jobId, (watches.get(jobId) ?? new Set()).add(tab));

  /** A tab watches a job from now on: it is told what this session has brought of it. */
  const told = (tab: Tab, jobId: string) => {
    watch(tab, jobId);
    if (last.has(jobId)) tell([tab], last.get(jobId)!);
  };

  /** Ends watches of a tab. Returns whether the server has to be asked. */
  const unwatch = (tab: Tab, jobs: Iterable<string>, id = "0.0") => {
    const over = [...jobs].filter((jobId) => {
      const of = watches.get(jobId);
      return of?.delete(tab) && !of.size && watches.delete(jobId);
    });
    const single = over.filter((jobId) => jobId !== all);
    if (!watches.has(all)) for (const jobId of single) last.delete(jobId);
    if (single[0]) ask({ type: "unsubscribe", id, jobs: single });
    if (single.length < over.length) ask({ type: "unsubscribe", id, mine: true });
    return over.length;
  };

  const part = (id: string) => {
    const tab = tabs.get(id);
    if (tabs.delete(id)) unwatch(tab!, watches.keys());
  };

  /** Whether there is room for more watches. If not, the tab that wants them is to use a session of its own. */
  const room = (tab: Tab, more: number) => {
    const full = tabs.size > 1 && watches.size + flight.size + more >= limits.subscriptions;
    if (full) {
      part(tab.id_);
      alone(tab.id_);
    }
    return !full;
  };

  /** Sends what waits for its turn, one frame of each tab in turn, as far as the server's bound allows. */
  const pump = () => {
    for (const [key, tab] of tabs) {
      if (flight.size >= limits.inFlightSubmits) return;
      const next = tab.queue_.shift();
      if (!next) continue;
      tabs.delete(key); // it is the last in turn, and comes once more
      tabs.set(key, tab);
      const [id, text, watches] = next;
      if (watches && !room(tab, 1)) continue;
      flight.set(id, watches);
      server.send(text);
    }
  };

  const take = (text: string) => {
    const { type, id, job, jobs, jobId, cursor, reset, mine, ...frame }: Frame = JSON.parse(text);
    let to: Iterable<Tab> = tabs.values();
    const [no, asked] = id?.split(".") ?? [];
    if (asked) to = [...to].filter((tab) => tab.no_ == no);
    else if (type === "welcome") {
      welcome = text;
      limits = frame.limits ?? limits;
    } else if (type === "goaway") leaving();
    else if (job) {
      to = watches.get(job.jobId) ?? [];
      if (mine) to = new Set([...to, ...(watches.get(all) ?? [])]);
      last.delete(job.jobId);
      last.set(job.jobId, text);
      if (last.size > maxLast) last.delete(last.keys().next().value!);
      if (/^(completed|failed|cancelled)$/.test(job.state)) {
        watches.delete(job.jobId);
        if (!watches.has(all)) last.delete(job.jobId);
      }
    } else if (cursor) to = watches.get(all) ?? [];
    else if (/expiring|error/.test(type)) to = [tabs.get(own)!]; // it is about the leader's token
    if ((mine && job) || cursor) log = [...log.slice(-maxLog), [cursor, job && text]];
    tell(to, withID(text, id, asked));
    const [tab] = to;
    if (type === "ack" && flight.get(id)) {
      if (tab) told(tab, jobId);
      else if (!watches.has(jobId)) ask({ type: "unsubscribe", id: "0.0", jobs: [jobId] });
    }
    if (flight.delete(id)) pump();
    if (type === "subscribed") {
      if (reset) log = [];
      for (const { jobId, error, reset } of jobs) {
        if (reset) last.delete(jobId);
        if (tab && asked) error ? unwatch(tab, [jobId]) : told(tab, jobId);
      }
    }
  };

  const server: Session = transport.open(target, { frame: take, closed });

  return {
    join_(id) {
      const fresh = !tabs.has(id);
      if (fresh) {
        tabs.set(id, { id_: id, no_: ++count, queue_: [] });
        if (welcome) deliver([id], welcome);
      }
      return fresh;
    },
    part_: part,
    send_(from, text) {
      const tab = tabs.get(from);
      if (!tab) return;
      const { type, id, jobs = [], after, mine, ...frame }: Frame = JSON.parse(text);
      const asked = tab.no_ + "." + id;
      const renamed = withID(text, id, asked);
      const answer = (type: string, reset = false) => tell([tab], JSON.stringify({ type, id, jobs, mine, reset }));
      if (/submit|cancel|retry/.test(type)) {
        if (type === "retry") last.delete(frame.jobId); // that it has ended is no news behind its ack
        tab.queue_.push([asked, renamed, type !== "cancel" && frame.watch !== false]);
        pump();
      } else if (type === "unsubscribe") {
        if (!unwatch(tab, mine ? [all] : jobs, asked)) answer("unsubscribed");
      } else if (mine && watches.has(all)) {
        // It is answered from what came since the first has asked.
        const since = after ? log.findLastIndex(([cursor]) => cursor === after) : log.length;
        watch(tab, all);
        answer("subscribed", since < 0);
        if (since >= 0) for (const [, text] of log.slice(since)) if (text) tell([tab], text);
      } else if (room(tab, jobs.length)) {
        if (mine) {
          watch(tab, all);
          log = [[after]];
        }
        for (const { jobId } of jobs) watch(tab, jobId);
        server.send(renamed);
      }
    },
    close_: (code, reason) => server.close(code, reason),
  };
}
