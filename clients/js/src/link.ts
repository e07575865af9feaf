// The connection: which session is in use, when another is opened, and what waits to be sent.

import { closePingTimeout, reconnects } from "./codes_gen.js";
import { type Call, type Conn, type Frame, outcome } from "./conn.js";
import { AckwireError, ClosedError, failure, type Parse, unavailable } from "./errors.js";
import { Value } from "./store.js";
import { fits, quote } from "./text.js";
import { alarm, type Backoff, millis, now, positive } from "./time.js";
import type { Tokens } from "./token.js";
import type { Connection, Target, Transport } from "./types.js";

const handshake = 15_000; // milliseconds for one attempt to connect, up to the welcome
const drain = 10_000; // milliseconds that answers are awaited in an old session, beyond what goaway asked to wait
const answer = 5_000; // milliseconds for the answer to a ping, and of silence before one while a request is unanswered

/** What uses a link: the watches, and what is loaded when it is first used. */
export interface Part {
  /** Whether it needs a connection: something is watched. */
  any_(): boolean;
  /** The next frame of a watch, or undefined. */
  frame_?(conn: Conn): string | undefined;
  /** A session came into use. */
  opened_(): void;
  /** A session has ended. */
  ended_?(conn: Conn): void;
  /** Looks at a frame, and at the call whose ID it has, before it is taken; returns false when it makes no sense. */
  take_?(conn: Conn, frame: Frame, call: Call | undefined): boolean | void;
  /** The client has ended. */
  fail_(error: AckwireError): void;
}

/** Takes a frame, and the call whose ID it has; throws, or returns false, when it makes no sense. */
export type Take = (conn: Conn, frame: Frame, call: Call | undefined) => boolean | void;

/** What a link is to its users. */
export interface Link {
  readonly state_: Value<Connection>;
  /** Why the client has ended, once it has. */
  ended_: AckwireError | undefined;
  /** Where new requests go; undefined while there is none. */
  cur_: Conn | undefined;
  readonly backoff_: Backoff;
  /** What uses it, the watches first; each adds itself. */
  readonly parts_: Part[];
  /** Sends a request and waits for its answer. It is ended by its signal, its time to live, or with the client. */
  call_(call: Call): Promise<Frame>;
  /** Makes an ID for a frame; none is used twice. */
  id_(): string;
  /** Ends a call of a session with its answer. */
  answer_(conn: Conn, call: Call, error?: unknown, frame?: Frame): void;
  /** Waits milliseconds. The connection is kept meanwhile; the signal, or the client's end, rejects. */
  sleep_(wait: number, signal?: AbortSignal): Promise<void>;
  /** Has what is to be done looked at, once for all changes of one turn. */
  touch_(): void;
  /** Goes over to a new session after a wait; the old one, which is in use, still brings answers. */
  leave_(conn: Conn, wait: number): void;
  /** Ends the client: everything that waits gets its outcome now. */
  fail_(error: AckwireError): void;
}

/**
 * Makes a link, which keeps one session in use while one is needed: while a request is unanswered or something is
 * watched. A link that is idle has no timer. An idle session stays open, and is opened again only when it is needed.
 */
export function createLink(
  transport: Transport, target: Omit<Target, "token">, tokens: Tokens, backoff_: Backoff,
  ready: () => Parse | Promise<Parse>, listen: (wake: () => void) => () => void, take_: Take,
): Link {
  const parts_: Part[] = [];
  const conns = new Set<Conn>(); // not ended
  const ends = new Set<(error: AckwireError) => void>(); // each ends something that somebody waits for
  let queue: Call[] = []; // not written, in the order of their making
  let opening: Conn | undefined;
  let sequence = 0;
  let failures = 0;
  let badFrames = 0;
  let lastError: AckwireError | undefined;
  let notBefore = 0; // when the next attempt may begin
  let asked = false; // goaway has said when
  let retried = false; // a refused token was replaced, once
  let pumping = false;
  let guard: (() => void) | undefined; // stops the alarm that looks after the connection
  let unlisten: (() => void) | undefined;

  // Requests.

  /**
   * Waits until finish_ of a call is called, for its signal, for its time, or for the client's end. When its time has
   * come the error says `late`; without one this is a mere wait, which resolves.
   */
  const hold = (call: Partial<Call>, late?: string) => new Promise<any>((resolve, reject) => {
    const { signal_, until_ } = call;
    if (link.ended_) throw link.ended_;
    if (signal_?.aborted) throw signal_.reason;
    const finish = (error: unknown, value?: unknown) => {
      call.finish_ = undefined;
      ends.delete(end);
      stop?.();
      signal_?.removeEventListener("abort", abort);
      if (error === undefined) resolve(value);
      else reject(error);
      touch_();
    };
    const end = (error: AckwireError) => finish(outcome(call, error));
    const abort = () => finish(signal_!.reason);
    const stop = until_ === undefined ? undefined : alarm(until_, () => (late ? end(unavailable(late)) : finish(undefined)));
    call.finish_ = finish;
    ends.add(end);
    signal_?.addEventListener("abort", abort);
    touch_();
  });

  const call_ = (call: Call) => {
    const done = hold(call, "ttl is over");
    call.sends_ = 0;
    call.id_ = id_();
    if (call.finish_) queue.push(call);
    return done;
  };

  const id_ = () => (++sequence).toString(36);

  const answer_ = (conn: Conn, call: Call, error?: unknown, frame?: Frame) => {
    conn.calls_.delete(call.id_!);
    if (call.rank_) conn.inFlight_--;
    call.finish_?.(error, frame);
    touch_(); // the next one may go
  };

  /** Writes requests that wait for nothing, then watches, then the rest as far as the server's bound allows. */
  const flush = () => {
    for (let conn; (conn = link.cur_); ) {
      let call = queue.find((call) => !call.rank_);
      let frame = call ? "" : parts_[0]!.frame_!(conn);
      if (!call && !frame && conn.inFlight_ < conn.most_) call = queue.find((call) => call.rank_ === 1) ?? queue[0];
      if (call) {
        queue.splice(queue.indexOf(call), 1);
        if (!call.finish_) continue; // it was given up in its queue
        frame = `{"type":"${call.kind_}","id":"${call.id_}"${call.body_}`;
        if (!fits(frame, conn.frameBytes_)) {
          call.finish_(failure("payload_too_large", conn.frameBytes_ + " bytes at most"));
          continue;
        }
        call.sends_!++;
        conn.calls_.set(call.id_!, call);
        if (call.rank_) conn.inFlight_++;
      }
      if (!frame) return;
      conn.session_!.send(frame);
    }
  };

  // The pump: everything that is to be done is done here, in one microtask for all changes of one turn.

  const touch_ = () => {
    if (pumping) return;
    pumping = true;
    queueMicrotask(() => {
      pumping = false;
      if (!link.ended_) pump();
    });
  };

  const pump = () => {
    const needed = ends.size > 0 || parts_.some((part) => part.any_());
    if (needed) unlisten ??= listen(wake);
    else {
      unlisten?.();
      unlisten = undefined;
    }
    if (needed && !link.cur_ && !opening && now() >= notBefore) open();
    flush();
    for (const conn of conns) if (conn.draining_ && (!needed || (link.cur_ && !conn.calls_.size))) drop(conn);
    show(needed);
    // Look after the connection in time; an alarm that is early looks again.
    guard?.();
    const { cur_ } = link;
    if (!needed || (opening && !cur_)) return;
    guard = alarm(cur_ ? due(cur_) : notBefore, () => {
      if (cur_ && cur_ === link.cur_ && due(cur_) <= now()) {
        if (cur_.pinged_) giveUp(cur_);
        else ping(cur_);
      }
      touch_();
    });
  };

  const show = (needed: boolean) => {
    const { cur_, ended_, state_ } = link;
    const value: Connection = {
      state: ended_ ? "closed" : cur_ ? "open" : opening ? "connecting" : needed ? "waiting" : "idle",
      transport: transport.name,
      failures: cur_ ? 0 : failures,
      badFrames,
      error: cur_ ? undefined : (ended_ ?? lastError),
    };
    const old = state_.value_;
    if ((Object.keys(value) as (keyof Connection)[]).some((key) => value[key] !== old[key])) state_.set_(value);
  };

  // Signs of life.

  /** When a session in use is to be looked after: a ping, or the answer to it. */
  const due = (conn: Conn) =>
    conn.pinged_
      ? conn.pinged_ + answer
      : conn.heard_ + (conn.calls_.size || conn.batches_.size ? Math.min(conn.ping_, answer) : conn.ping_);

  const ping = (conn: Conn) => {
    conn.pinged_ = now();
    conn.session_!.send('{"type":"ping"}');
  };

  /** Looks after the connection at once: the device woke, the network is back, the page is seen again. */
  const wake = () => {
    const { cur_ } = link;
    if (opening) spare(opening, answer);
    if (cur_) {
      if (!cur_.pinged_) ping(cur_);
    } else if (!asked) notBefore = failures = 0;
    touch_();
  };

  /** Gives a session up after a wait, in place of what was set before. */
  const spare = (conn: Conn, wait: number) => {
    conn.spare_();
    conn.spare_ = alarm(now() + wait, () => {
      tokens.forget_(); // one that does not answer
      giveUp(conn);
    });
  };

  const giveUp = (conn: Conn) => {
    closed(conn, closePingTimeout, "no answer");
    conn.session_?.close(closePingTimeout);
  };

  // Sessions.

  const open = () => {
    const conn = (opening = { calls_: new Map(), batches_: new Map(), inFlight_: 0, spare_() {} } as never as Conn);
    conns.add(conn);
    const end = closed.bind(undefined, conn);
    spare(conn, handshake);
    Promise.all([tokens.fetch_(), ready()]).then(([token, parse]) => {
      if (conn.dead_) return;
      conn.session_ = transport.open({ ...target, token: token || undefined }, {
        frame(text) {
          if (conn.dead_) return;
          conn.heard_ = now();
          conn.pinged_ = 0;
          let sound: boolean | void = false;
          try {
            const frame = parse(text);
            if (typeof frame.type === "string") sound = take(conn, frame);
          } catch {
            // Not a frame of this protocol: it must not take the others down.
          }
          if (sound !== false) return;
          badFrames++;
          touch_();
        },
        closed: end,
      });
      if (conn.dead_) conn.session_.close(1000);
    }).catch((error) => end(1006, "", unavailable("token", error)));
  };

  const take = (conn: Conn, frame: Frame): boolean | void => {
    const { id, type, limits } = frame;
    const call = conn.calls_.get(id);
    switch (type) {
      case "welcome":
        conn.frameBytes_ = positive(limits?.frameBytes, 262_144);
        conn.most_ = positive(limits?.inFlightSubmits, Infinity);
        conn.ping_ = millis(frame.pingInterval) || 25_000;
        if (call?.kind_ === "auth") answer_(conn, call);
        if (conn.born_) return;
        conn.born_ = now();
        conn.spare_();
        opening = lastError = undefined;
        link.cur_ = conn;
        asked = retried = false;
        for (const part of parts_) part.opened_();
        return touch_();
      case "goaway":
        if (!conn.draining_ && conn.born_) leave_(conn, millis(frame.reconnectAfter));
        return;
      case "expiring":
        // Should the renewal fail, the session ends with 4002, and the next one has a newer token.
        if (tokens.renewable_) {
          tokens.fetch_()
            .then((token) => token && call_({ kind_: "auth", body_: `,"token":${quote(token)}}` }))
            .catch(() => {});
        }
        return;
      case "error":
        if (typeof frame.code !== "string") break;
        if (!call && !conn.batches_.has(id)) {
          if (id === undefined) conn.problem_ = new AckwireError(frame);
          return;
        }
    }
    return conn.born_ ? take_(conn, frame, call) : false;
  };

  const leave_ = (conn: Conn, wait: number) => {
    conn.draining_ = true;
    spare(conn, wait + drain);
    link.cur_ = undefined;
    notBefore = now() + wait;
    asked = true;
    touch_();
  };

  /** Whatever a session still tells is ignored from now on. */
  const bury = (conn: Conn) => {
    conn.dead_ = true;
    conn.spare_();
    conns.delete(conn);
    for (const part of parts_) part.ended_?.(conn);
  };

  const drop = (conn: Conn) => {
    bury(conn);
    conn.session_?.close(1000);
  };

  const closed = (conn: Conn, code: number, reason: string, error?: AckwireError) => {
    if (conn.dead_) return;
    const used = link.cur_ === conn;
    const tried = opening === conn;
    if (used) link.cur_ = undefined;
    if (tried) opening = undefined;
    bury(conn);
    const why = error ?? conn.problem_;
    const ended = new ClosedError({
      code: why?.code ?? (code === 4503 ? "limit_exceeded" : code > 4499 ? "unauthenticated" : "closed"),
      detail: `closed: ${code} ${why?.message ?? reason}`,
    }, code, { cause: why });
    const cause = why ?? ended;
    // What was not answered goes back to the front, in order, or ends as not known.
    const again: Call[] = [];
    for (const call of conn.calls_.values()) {
      if (call.finish_ && call.resend_) again.push(call);
      else call.finish_?.(outcome(call, cause));
    }
    queue = [...again, ...queue];
    touch_();
    if (!used && !tried) return;
    lastError = cause;
    asked = false;
    if (error ? !permanent(error) : reconnects(code)) {
      // A session that did not last counts as a failed attempt, so that a server which welcomes and closes is not
      // met with a tight loop.
      if (used && now() - conn.born_! >= backoff_.cap_) failures = 0;
      notBefore = now() + backoff_.wait_(failures++, error?.retryAfter);
    } else if (error?.status === 401 && tokens.renewable_ && !retried) {
      retried = true;
      notBefore = 0;
    } else fail_(error ?? ended);
  };

  const fail_ = (error: AckwireError) => {
    if (link.ended_) return;
    link.ended_ = error;
    unlisten?.();
    guard?.();
    conns.forEach(drop);
    link.cur_ = opening = undefined;
    for (const end of ends) end(error);
    for (const part of parts_) part.fail_(error);
    show(false);
  };

  const link: Link = {
    state_: new Value({} as Connection),
    ended_: undefined,
    cur_: undefined,
    backoff_, parts_,
    call_, id_, answer_, touch_, leave_, fail_,
    sleep_: (wait, signal_) => hold({ signal_, until_: now() + wait }),
  };
  show(false);
  return link;
}

/** Whether coming back would be refused again; 404 is what a proxy answers while the service behind is replaced. */
const permanent = ({ retryable, status = 0 }: AckwireError): boolean =>
  !retryable && /^4(?!04|08|25|29)/.test(status + "");
