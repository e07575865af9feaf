/**
 * A transport for `ackwire` that has all tabs of an origin share one session.
 *
 * @module
 */

import type { SessionEvents, Target, Transport } from "../types.js";
import { type Hub, openHub } from "./hub.js";

/** Options of {@link tabs}. */
export interface TabsOptions {
  /**
   * Whose tabs share a session: tabs that name different users never do. The default is what the token says: all claims
   * of a JWT but `exp`, `iat`, `nbf` and `jti`, or a token that is no JWT as a whole. Name the user where your tokens
   * are opaque, or differ between tabs in other claims.
   */
  user?: string;
  /** What the leader's session is opened with. The default is what the client would use without tabs. */
  transport?: Transport;
}

const look = 500; // milliseconds between two looks at a leader that a tab needs
const misses = 3; // looks in a row without an answer, after which the leader hangs
const needed = 30_000; // milliseconds that a tab needs its leader after it has sent something: a client pings more often
const aloneFor = 60_000; // milliseconds for which a tab that found no room uses sessions of its own

/** What tabs tell each other. */
type Message = [
  leads: 0 | 1, // whether the leader says it, or a tab does to its leader
  id: string, // who says it
  text?: string | 0, // a frame
  code?: number, // the session has ended
  to?: string[], // for whom it is; all without it
  alone?: boolean, // they are to use sessions of their own
];

/**
 * Returns a transport by which all tabs of an origin, of one user, share one session:
 * `connect({ url, token, transports: [tabs()] })`. One of the tabs, the leader, holds the session and passes frames on.
 * When the leader's tab is closed, crashes or is frozen, the other tabs connect again at once, and one of them leads;
 * when it hangs, after 2 seconds. A watch ends at the server when no tab has it any more. Tabs take turns at the
 * server's bound on submits in flight. A tab whose watches would exceed the session's bound uses a session of its own.
 *
 * It needs Web Locks and BroadcastChannel. Where there are none, such as on a page without TLS or in React Native, each
 * tab has a session of its own.
 */
export function tabs({ user, transport: given }: TabsOptions = {}): Transport {
  const { navigator, BroadcastChannel, addEventListener } = globalThis;
  const locks = navigator?.locks;
  const sessions = new Set<() => void>();
  let aloneUntil = 0;
  let frozen: Promise<void> | undefined; // until the page goes on
  // A frozen page must neither lead nor wait to lead: it could not use a lock that it is granted.
  addEventListener?.("freeze", () => {
    frozen = new Promise((done) => addEventListener("resume", () => done(), { capture: true, once: true }));
    for (const lost of sessions) lost();
  }, true);

  const open: Transport["open"] = (target, events) => {
    const transport = given ?? target.standard;
    if (!locks || !BroadcastChannel || Date.now() < aloneUntil) return transport.open(target, events);
    const own = crypto.randomUUID();
    const end = new AbortController();
    let channel: BroadcastChannel | undefined;
    let name: string;
    let hub: Hub | undefined; // while this tab leads
    let resign: (() => void) | undefined; // gives the lead up
    let leader: string | undefined; // that has welcomed this tab
    let welcome: string;
    let draining = false;
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let heard = false; // of the leader, since the last look
    let neededUntil = 0;
    let missed = 0;

    const post = (...message: Message) => channel?.postMessage(message);
    /** Runs something with a lock; what it returns holds the lock. `lost` is called if another tab steals it. */
    const lock = (name: string, run: () => unknown, lost = () => {}) =>
      void locks.request(name, { signal: end.signal }, run).catch(lost);
    const hold = () => new Promise<void>((done) => end.signal.addEventListener("abort", () => done()));

    const stop: SessionEvents["closed"] = (code, reason, error) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      // What the server will not take of this tab's token, it may take of another's.
      post(hub ? 1 : 0, own, 0, !hub || (!error && /^(1006|101.|400.)$/.test(code as any)) ? code : 1012);
      hub?.close_(code, reason);
      end.abort();
      resign?.();
      channel?.close();
      channel = undefined;
      sessions.delete(lost);
      events.closed(code, reason, error);
    };
    /** Ends this session so that its client connects again at once. */
    const lost = () => {
      if (!over) events.frame('{"type":"goaway","reason":"leader","reconnectAfter":0}');
      stop(1012, "leader");
    };
    const goAlone = () => {
      aloneUntil = Date.now() + aloneFor;
      lost();
    };

    /** The lock is this tab's. */
    const lead = () => {
      if (over || draining) return;
      if (leader) return lost(); // it has gone
      const led = new Promise<void>((done) => (resign = done));
      hub = openHub(
        transport, target, own,
        (to, text) => {
          if (to.includes(own) && !over) events.frame(text);
          if (to.some((id) => id !== own)) post(1, own, text, 0, to);
        },
        (tab) => (tab === own ? goAlone() : post(1, own, 0, 1012, [tab], true)),
        () => {
          draining = true;
          resign!();
        },
        stop,
      );
      hub.join_(own);
      post(1, own);
      return led;
    };

    /** Something depends on the leader now: it is looked at. */
    const need = () => {
      neededUntil = Date.now() + needed;
      if (!leader) post(0, own);
      arm();
    };
    const arm = () => {
      const due = Date.now() + 2 * look;
      timer ??= setTimeout(() => {
        timer = undefined;
        if (hub || over) return;
        // A tab that has slept knows nothing.
        missed = heard || Date.now() > due ? 0 : missed + 1;
        heard = false;
        // A leader that hangs is deposed: who waits for the lock hears of it by getting it.
        if (missed > misses) void locks.request(name, { steal: true }, () => {});
        else post(0, own);
        if (Date.now() < neededUntil) arm();
      }, look);
    };

    const hear = ([leads, id, text, code, to, alone]: Message) => {
      if (!leads) {
        if (!hub) return;
        if (code === 4001) stop(code, ""); // the server is silent: a client that has noticed it speaks for all
        else if (code) hub.part_(id);
        else if (text) hub.send_(id, text);
        else {
          if (!draining && hub.join_(id)) lock(name + id, () => hub!.part_(id));
          post(1, own, 0, 0, [id]);
        }
      } else if (!hub && (leader ?? id) === id) {
        heard = true;
        if (to && !to.includes(own)) return;
        if (alone) goAlone();
        else if (code) code === 1012 ? lost() : stop(code, "");
        else if (text) {
          leader = id;
          welcome ??= text;
          draining ||= text.startsWith('{"type":"goaway"');
          events.frame(text);
        } else if (!to) need(); // a new leader
      }
    };

    const send = async (text: string) => {
      // A newer token: the leader's goes to the server, any other tab's only says whether the user is still the same.
      if (text.startsWith('{"type":"auth"')) {
        const { id, token } = JSON.parse(text);
        if ((await nameOf(target, user ?? userOf(token))) !== name) return lost();
        if (!hub) return over || events.frame(welcome.replace("{", `{"id":"${id}",`));
      }
      if (hub) return hub.send_(own, text);
      post(0, own, text);
      need();
    };

    sessions.add(lost);
    (async () => {
      await frozen;
      name = await nameOf(target, user ?? userOf(target.token));
      if (over) return;
      channel = new BroadcastChannel(name);
      channel.onmessage = ({ data }) => hear(data);
      // While it holds its own lock it is there: the leader waits for that lock.
      lock(name + own, () => {
        lock(name, lead, lost);
        need();
        return hold();
      });
    })();
    return { send, close: (code = 1000, reason = "") => stop(code, reason) };
  };
  return { name: "tabs", open };
}

/** Who a token is for, as far as it says. */
function userOf(token = ""): string {
  try {
    const claims = atob(token.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/"));
    return claims.replace(/,?"(exp|iat|nbf|jti)":[^,}]+/g, "");
  } catch {
    return token;
  }
}

/** The name of the locks and the channel of a user at a gateway. It does not give a token away. */
async function nameOf({ base, query }: Target, user: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode([base, query, user].join("\n")));
  return "ackwire" + new Uint8Array(hash);
}
