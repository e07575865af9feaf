// The session of one tab: with the leader, or as the leader, which has the one session at the server and is a small
// gateway between it and all tabs, its own included.

import type { AckwireError } from "../errors.js";
import type { Session, SessionEvents, Target, Transport } from "../types.js";

const look = 150; // milliseconds between two looks at a leader that a tab needs
const misses = 5; // looks in a row at a leader that is silent; at the next one it hangs. It is asked from the 2nd on
const needed = 200; // looks at the leader after a tab has sent a frame: clients ping more often
const noRoom = 1; // the code of a session that ends so that its tab uses sessions of its own
const maxLast = 8e6; // characters of statuses, of 2 bytes at most, that are kept for tabs that join a watch
const entry = 200; // characters that each status counts beside its text
const all = ""; // stands for all jobs of the subject, among the jobs that tabs watch
const goaway = '{"type":"goaway"}'; // come back at once

/** What tabs tell each other. */
type Message = [
  to?: string[] | 0, // for whom it is, for all if empty; a tab says nothing here: it is for its leader
  text?: string | false | 0, // a frame
  code?: number, // how the session has ended
];

type Frame = any;

/** Opens the session of a tab among those of a name. `alone` is called when its tab is to use sessions of its own. */
export function share(
  name: string, locks: LockManager, transport: Transport, target: Target, events: SessionEvents, alone: () => void,
): Session {
  const own = crypto.randomUUID();
  const end = new AbortController();
  const { signal } = end;
  const channel = new BroadcastChannel(name); // it alone may throw
  const held: (() => unknown)[] = []; // release the locks of this session, that of the leader last
  let leader: string | undefined; // that has welcomed this tab
  let draining = false;
  let over = false;

  const post = (...message: Message) => over || channel.postMessage([own, ...message]);
  const tell = (text: string) => over || events.frame(text);
  /** Runs something with a lock; what it returns holds the lock. */
  const lock = (name: string, run: () => unknown) =>
    void locks.request(name, { signal }, run).catch(() => {
      // Another tab has stolen the lock; or, before this one has any, the browser forbids locks here.
      if (!over) lost(held[0] ? 0 : noRoom);
    });
  const hold = () => new Promise<void>((release) => held.push(release));

  const stop = (code = 1000, reason = "", error?: AckwireError) => {
    if (over) return;
    post(server && [], 0, code);
    over = true;
    clearInterval(timer);
    server?.close(code, reason);
    end.abort();
    held.map((release) => release());
    channel.close();
    events.closed(code, reason, error);
  };
  /** Ends this session so that its client connects again at once. */
  const lost = (why?: unknown) => {
    if (why === noRoom) alone();
    tell(goaway);
    stop(1012);
  };

  // The leader's part.

  let server: Session | undefined; // while this tab leads
  let welcome: string | undefined;
  let bounds: Frame;
  const tabs = new Set<string>([own]);
  const watches = new Map<string, Set<string>>();
  /** The last status of each job, by its ID, and cursors, in the order in which they came: nothing comes twice. */
  const last = new Map<string, string>();
  let kept = 0; // characters that came for last since it was empty
  let dropped = false; // it was emptied
  /**
   * Submits, cancels and retries that wait for their turn. Tabs share the server's bound by it: a client sends no more
   * than the bound before it has answers, so that no tab waits for more than that of any other.
   */
  const queue: [id: string, text: string, watches: boolean][] = [];
  /** Those that are not answered, and whether their job is watched from then on. */
  const flight = new Map<string, boolean>();

  const deliver = (to: Iterable<string>, text: string) => {
    const others = new Set(to);
    if (others.delete(own)) tell(text);
    if (others.size) post([...others], text);
  };
  const withID = (text: string, from: string, to: string) => text.replace(`"id":"${from}"`, `"id":"${to}"`);
  const watching = (jobId: string) => watches.get(jobId) ?? new Set();
  const watch = (tab: string, jobId: string) => watches.set(jobId, watching(jobId).add(tab));

  /** Ends watches of a tab, and at the server those that no other tab has. */
  const unwatch = (tab: string, jobs: string[], id?: string) => {
    const over = jobs.filter((jobId) => {
      const of = watching(jobId);
      return of.delete(tab) && !of.size && watches.delete(jobId);
    });
    const what = over[0] === all ? { mine: true } : { jobs: over };
    if (over.length || id) server!.send(JSON.stringify({ type: "unsubscribe", id, ...what }));
  };

  /** A tab has gone: what only it watched is watched no more. */
  const part = (tab: string) => {
    if (!tabs.delete(tab)) return;
    unwatch(tab, [all]);
    unwatch(tab, [...watches.keys()]);
  };

  /** Whether there is room for more watches. If not, the tab that wants them is to use sessions of its own. */
  const room = (tab: string, more: number) => {
    if (!(tabs.size > 1 && more && watches.size + flight.size + queue.length + more > bounds.subscriptions)) return 1;
    part(tab);
    tab === own ? lost(noRoom) : post([tab], 0, noRoom);
  };

  /** Sends what waits, as far as the server's bound allows. */
  const pump = () => {
    while (queue[0] && !(flight.size >= bounds.inFlightSubmits)) {
      const [id, text, watches] = queue.shift()!;
      flight.set(id, watches);
      server!.send(text);
    }
  };

  const note = (key: string, text = "") => {
    kept += text.length + entry;
    if (kept > maxLast) {
      last.clear();
      kept = 0;
      dropped = true;
    }
    last.delete(key);
    last.set(key, text);
  };

  /**
   * Tells a tab what this session has brought of a job, if it contains what the server says of the job now. What was
   * dropped the server would not send again: then all tabs go to a new session, which asks for everything.
   */
  const told = (tab: string, jobId: string, now: string) => {
    const text = last.get(jobId);
    if (text?.includes(now)) deliver([tab], text);
    else if (dropped && !text) take(goaway);
  };

  /** Takes a frame of the server. */
  const take = (text: string) => {
    const { type, id, job, jobs, jobId, cursor, mine, reset, duplicate, limits, error }: Frame = JSON.parse(text);
    let to: Iterable<string> = tabs;
    const [tab, asked, ofAll] = id?.split(".") ?? [];
    if (id) to = [tab];
    else if (limits) {
      welcome = text;
      bounds = limits;
    } else if (type === "goaway") {
      draining ||= !held.pop()!(); // the next leader has another session
    } else if (type === "expiring") to = [own]; // whose token it is
    else if (job) {
      to = [...watching(job.jobId), ...watching(all)];
      if (job.state < "g") watches.delete(job.jobId); // completed, cancelled, failed
    } else if (cursor || mine) to = watching(all);
    if (job || cursor) note(cursor ?? job.jobId, text);
    deliver(to, withID(text, id, asked));
    if (type === "ack" && flight.get(id)) {
      watch(tab, jobId);
      if (duplicate) told(tab, jobId, "");
      if (!tabs.has(tab)) unwatch(tab, [jobId]);
    }
    flight.delete(id);
    pump();
    // All jobs are not followed, for the leader's token does not permit it any more, or as an error has answered.
    if (error || (ofAll && !jobs)) {
      if (watching(all).size > 1 && id) take(goaway); // a tab that was told otherwise asks again
      watches.delete(all);
    }
    if (type === "subscribed") {
      if (reset) last.clear();
      for (const { jobId, error, version } of jobs) {
        error ? unwatch(tab, [jobId]) : id && told(tab, jobId, `"version":${version},`);
      }
    }
  };

  /** Takes a frame of a tab. */
  const serve = (tab: string, text: string) => {
    if (!tabs.has(tab)) return;
    const { type, id, jobs, after, mine, watch: wants }: Frame = JSON.parse(text);
    const asked = [tab, id, mine].join(".");
    const renamed = withID(text, id, asked);
    const wanted = mine ? [{ jobId: all }] : (jobs ?? []);
    const order = id && !jobs && !mine;
    const follows = order && type !== "cancel" && wants !== false;
    if (type[0] === "u") unwatch(tab, jobs ?? [all], asked); // unsubscribe
    else if (mine && watches.has(all)) {
      // It is answered from what came since the first has asked.
      const keys = [...last.keys()];
      const since = after ? keys.indexOf(after, keys.indexOf(all)) + 1 : Infinity;
      watch(tab, all);
      deliver([tab], JSON.stringify({ type: "subscribed", id, jobs: [], mine, reset: !since }));
      for (const key of keys.slice(since || Infinity)) deliver([tab], last.get(key)!);
    } else if (room(tab, wanted.length + follows)) {
      if (order) {
        queue.push([asked, renamed, follows]);
        return pump();
      }
      for (const { jobId } of wanted) watch(tab, jobId);
      if (mine) {
        note(all); // cursors from before are of no use
        if (after) note(after);
      }
      server!.send(renamed);
    }
  };

  /** The lock is this tab's. */
  const lead = () => {
    if (leader || over) return draining || lost(); // it has gone
    const leads = hold();
    server = transport.open(target, {
      frame(text) {
        try {
          take(text);
        } catch {
          // No client could read it.
        }
      },
      closed: stop,
    });
    post([]);
    return leads;
  };

  // Whether the leader lives.

  let timer: ReturnType<typeof setInterval> | undefined;
  let looks = 0; // that are left
  let missed = 0; // since the leader was heard of

  /** Something depends on the leader now: it is looked at. */
  const need = () => {
    looks = needed;
    if (!leader) post();
    timer ??= setInterval(() => {
      if (server || !looks--) timer = clearInterval(timer) as undefined;
      // A leader that hangs is deposed: a tab that waits for the lock hears of it by getting it. A tab that has slept
      // is late with one look only: before the next it hears what the leader has said.
      else if (++missed > misses) void locks.request(name, { steal: true }, () => {});
      else if (missed > 1) post(); // what it says to any tab is heard by all
    }, look);
  };

  channel.onmessage = ({ data: [id, to, text, code] }: { data: [id: string, ...Message] }) => {
    if (!to) {
      if (!server) return;
      if (code! > 4000) stop(code); // the server is silent: a client that has noticed it speaks for all
      else if (code) part(id);
      else if (text) serve(id, text);
      else {
        const joins = !draining && !tabs.has(id);
        if (joins) {
          tabs.add(id);
          lock(name + id, () => part(id));
        }
        post([id], joins && welcome);
      }
    } else if (!server && (leader ?? id) === id) {
      missed = 0;
      if (to[0] && !to.includes(own)) return;
      if (code) lost(code);
      else if (text) {
        leader = id;
        draining ||= text[9] === "g"; // {"type":"goaway"
        tell(text);
      } else if (!to[0]) need(); // a new leader
    }
  };
  // A frozen page must neither lead nor wait to lead: it could not use a lock that it is granted.
  addEventListener("freeze", lost, { capture: true, signal });
  // While it holds its own lock it is there: the leader waits for that lock.
  lock(name + own, () => {
    lock(name, lead);
    need();
    return hold();
  });

  return {
    send(text) {
      // It follows streams or a list (watchList), or has a rare payload: this tab is to be alone.
      if (text[9] === "w" || text.includes('"streams":[')) lost(noRoom);
      else if (server) serve(own, text);
      else if (text[9] === "a") lost(); // {"type":"auth": the leader's token counts; this may be another user's by now
      else {
        post(0, text);
        need();
      }
    },
    close: stop,
  };
}
