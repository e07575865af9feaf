// The connection: which session is in use, when another is opened, and what waits to be sent.

import { closePingTimeout, reconnects } from "./codes_gen.js";
import { answersOther, type Call, Conn, counted, type Frame, outcome } from "./conn.js";
import { AckwireError, ClosedError } from "./errors.js";
import { failure, type Parse, problem, unavailable } from "./rest.js";
import { Value } from "./store.js";
import { fits, quote } from "./text.js";
import { type Backoff, longest, millis, now } from "./time.js";
import type { Tokens } from "./token.js";
import type { Connection, Target, Transport } from "./types.js";

const handshake = 15_000; // milliseconds for one attempt to connect, up to the welcome
const drain = 10_000; // milliseconds that answers are awaited in an old session, beyond what goaway asked to wait
const answer = 5_000; // milliseconds for the answer to a ping, and of silence before one while a request is unanswered
const late = 5_000; // milliseconds that a timer comes late when the device slept, or the page was frozen

/** What uses a link. */
export interface LinkUser {
  /** Whether something is watched, so that a connection is needed. */
  watching_(): boolean;
  /** The next frame of a watch, or undefined. */
  frame_(conn: Conn): string | undefined;
  /** A session came into use. */
  opened_(conn: Conn): void;
  /** A session has ended. */
  lost_(conn: Conn): void;
  /** Takes a frame; throws, or returns false, when it makes no sense. */
  take_(conn: Conn, frame: Frame): boolean | void;
  /** The client has ended. */
  failed_(error: AckwireError): void;
}

/**
 * The link keeps one session in use while one is needed: while a request is unanswered or something is watched. It
 * has one timer, which stands for all deadlines, and none while the link is idle. An idle session stays open, and is
 * opened again only when it is needed.
 */
export class Link {
  readonly state_: Value<Connection>;
  ended_: AckwireError | undefined;
  /** Where new requests go; undefined while there is none. */
  cur_: Conn | undefined;
  user_!: LinkUser;
  /** Frames that could not be read. */
  badFrames_ = 0;

  private readonly conns_ = new Set<Conn>(); // welcomed and not ended
  private opening_: Conn | undefined;
  private readonly queues_: [urgent: Call[], orders: Call[], submits: Call[]] = [[], [], []];
  private waiting_ = 0; // calls that somebody waits for
  private soonest_ = Infinity; // when the first of them is to be given up, or earlier
  private tasks_: { at_: number; run_: () => void }[] = [];
  private seq_ = 0;
  private failures_ = 0;
  private lastError_: AckwireError | undefined;
  private notBefore_ = 0; // when the next attempt may begin
  private asked_ = false; // goaway has said when
  private retried_ = false; // a refused token was replaced, once
  private pumping_ = false;
  private timer_: ReturnType<typeof setTimeout> | undefined;
  private timerAt_ = 0;
  private unlisten_: (() => void) | undefined;

  private readonly transport_: Transport;
  private readonly target_: Omit<Target, "token">;
  private readonly tokens_: Tokens;
  readonly backoff_: Backoff;
  private readonly ready_: () => Promise<Parse>;
  private readonly listen_: (wake: () => void) => () => void;

  constructor(
    transport: Transport, target: Omit<Target, "token">, tokens: Tokens, backoff: Backoff,
    ready: () => Promise<Parse>, listen: (wake: () => void) => () => void,
  ) {
    this.transport_ = transport;
    this.target_ = target;
    this.tokens_ = tokens;
    this.backoff_ = backoff;
    this.ready_ = ready;
    this.listen_ = listen;
    this.state_ = new Value<Connection>({ state: "idle", transport: transport.name, failures: 0, error: undefined });
  }

  // Requests.

  /** Sends a request and waits for its answer. It is ended by its signal, its time to live, or with the client. */
  call_(call: Call): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const { signal_ } = call;
      if (this.ended_) throw this.ended_;
      if (signal_?.aborted) throw signal_.reason;
      call.resolve_ = resolve;
      call.reject_ = reject;
      call.sends_ = 0;
      call.id_ = this.id_();
      call.abort_ = () => this.finish_(call, signal_!.reason);
      signal_?.addEventListener("abort", call.abort_);
      this.waiting_++;
      this.soonest_ = Math.min(this.soonest_, call.until_ ?? Infinity);
      this.queueOf_(call).push(call);
      this.touch_();
    });
  }

  id_(): string {
    return (++this.seq_).toString(36);
  }

  private queueOf_(call: Call): Call[] {
    return this.queues_[call.kind_ === "submit" ? 2 : counted(call) ? 1 : 0]!;
  }

  private finish_(call: Call, error: unknown, frame?: Frame): void {
    if (call.finished_) return;
    call.finished_ = true;
    call.signal_?.removeEventListener("abort", call.abort_!);
    this.waiting_--;
    if (error === undefined) call.resolve_!(frame);
    else call.reject_!(error);
    this.touch_();
  }

  /** Ends a call of a session with its answer. */
  answer_(conn: Conn, call: Call, error: unknown, frame?: Frame): void {
    conn.calls_.delete(call.id_!);
    if (counted(call)) conn.inFlight_--;
    this.finish_(call, error, frame);
    this.touch_(); // the next one may go
  }

  /** Runs something after a wait in milliseconds, or at once when the client ends before. */
  after_(wait: number, run: () => void): void {
    this.tasks_.push({ at_: now() + wait, run_: run });
    this.touch_();
  }

  /** Waits like {@link after_}; the connection is kept meanwhile. Rejects with the signal's reason. */
  sleep_(wait: number, signal?: AbortSignal): Promise<void> {
    this.waiting_++;
    return new Promise<void>((resolve, reject) => {
      const over = () => {
        signal?.removeEventListener("abort", over);
        if (signal?.aborted) reject(signal.reason);
        else resolve();
      };
      signal?.addEventListener("abort", over);
      this.after_(wait, over);
    }).finally(() => {
      this.waiting_--;
      this.touch_();
    });
  }

  // The pump: everything that is to be done, is done here, in one microtask for all changes of one turn.

  touch_(): void {
    if (this.pumping_) return;
    this.pumping_ = true;
    queueMicrotask(() => {
      this.pumping_ = false;
      this.pump_();
    });
  }

  private pump_(): void {
    if (this.ended_) return;
    const needed = this.waiting_ > 0 || this.user_.watching_();
    if (needed && !this.unlisten_) this.unlisten_ = this.listen_(() => this.wake_());
    else if (!needed) this.quiet_();
    if (needed && !this.cur_ && !this.opening_ && now() >= this.notBefore_) this.open_();
    this.flush_();
    for (const conn of this.conns_) {
      if (conn.draining_ && (!needed || (this.cur_ && !conn.calls_.size))) {
        this.conns_.delete(conn);
        this.drop_(conn, 1000);
      }
    }
    this.show_(needed);
    this.arm_(needed);
  }

  /** Writes requests that wait for nothing, then watches, then submits as far as the server's bound allows. */
  private flush_(): void {
    const [urgent, orders, submits] = this.queues_;
    for (let conn; (conn = this.cur_); ) {
      let call = urgent.shift();
      if (!call) {
        const frame = this.user_.frame_(conn);
        if (frame) {
          conn.session_!.send(frame);
          continue;
        }
        call = conn.inFlight_ < conn.most_ ? (orders.shift() ?? submits.shift()) : undefined;
        if (!call) return;
      }
      if (call.finished_) continue; // it was given up in its queue
      const frame = `{"type":"${call.kind_}","id":"${call.id_}"${call.body_}`;
      if (!fits(frame, conn.frameBytes_)) {
        this.finish_(call, failure("payload_too_large", `the server takes ${conn.frameBytes_} bytes in a frame`));
        continue;
      }
      call.sends_!++;
      conn.calls_.set(call.id_!, call);
      if (counted(call)) conn.inFlight_++;
      conn.session_!.send(frame);
    }
  }

  // Sessions.

  private open_(): void {
    const conn = (this.opening_ = new Conn(handshake));
    const closed = (code: number, reason: string, error?: AckwireError) => this.closed_(conn, code, reason, error);
    Promise.all([this.tokens_.fetch_(), this.ready_()]).then(([token, parse]) => {
      if (conn.dead_) return;
      conn.session_ = this.transport_.open({ ...this.target_, token: token || undefined }, {
        frame: (text) => this.frame_(conn, parse, text),
        closed,
      });
      if (conn.dead_) conn.close_();
    }).catch((error) => {
      closed(1006, "", error instanceof AckwireError ? error : unavailable("the token could not be fetched", error));
    });
  }

  private frame_(conn: Conn, parse: Parse, text: string): void {
    if (conn.dead_) return;
    conn.heard_ = now();
    conn.pinged_ = 0;
    conn.excused_ = false;
    let sound: boolean | void = false;
    try {
      const frame = parse(text);
      if (typeof frame.type === "string") sound = this.take_(conn, frame);
    } catch {
      // Not a frame of this protocol: it must not take the others down.
    }
    if (sound === false) this.badFrames_++;
  }

  private take_(conn: Conn, frame: Frame): boolean | void {
    const call = conn.calls_.get(frame.id);
    if (call && answersOther(call, frame.type)) return false;
    switch (frame.type) {
      case "welcome":
        conn.limit_(frame.limits);
        conn.ping_ = millis(frame.pingInterval) || 25_000;
        if (!conn.born_) this.welcome_(conn);
        if (call) this.answer_(conn, call, undefined, frame);
        return;
      case "goaway":
        return this.goaway_(conn, millis(frame.reconnectAfter));
      case "expiring":
        if (this.tokens_.renewable_) this.renew_();
        return;
      case "pong":
        return;
      case "error":
        if (typeof frame.code !== "string") break;
        if (!call && !conn.batches_.has(frame.id)) {
          if (frame.id === undefined) conn.problem_ = problem(frame);
          return;
        }
    }
    return conn.born_ ? this.user_.take_(conn, frame) : false;
  }

  private welcome_(conn: Conn): void {
    conn.born_ = now();
    conn.deadline_ = 0;
    this.conns_.add(conn);
    this.opening_ = undefined;
    this.cur_ = conn;
    this.asked_ = this.retried_ = false;
    this.lastError_ = undefined;
    for (const old of this.conns_) old.draining_ = old !== conn;
    this.user_.opened_(conn);
    this.touch_();
  }

  private goaway_(conn: Conn, wait: number): void {
    if (conn.draining_) return;
    conn.draining_ = true;
    conn.deadline_ = now() + wait + drain;
    if (this.cur_ === conn) {
      this.cur_ = undefined;
      this.notBefore_ = now() + wait;
      this.asked_ = true;
    }
    this.touch_();
  }

  /** Sends a newer token in the open session. Should that fail, the session ends with 4002, and the next has one. */
  private renew_(): void {
    this.tokens_.fetch_()
      .then((token) => token && this.call_({ kind_: "auth", body_: `,"token":${quote(token)}}` }))
      .catch(() => {});
  }

  /** Gives a session up; whatever it still tells is ignored. */
  private drop_(conn: Conn, code: number): void {
    conn.dead_ = true;
    conn.close_(code);
  }

  private closed_(conn: Conn, code: number, reason: string, error?: AckwireError): void {
    if (conn.dead_) return;
    conn.dead_ = true;
    const used = this.cur_ === conn;
    const tried = this.opening_ === conn;
    this.conns_.delete(conn);
    if (used) this.cur_ = undefined;
    if (tried) this.opening_ = undefined;
    if (this.ended_) return;
    const why = error ?? conn.problem_;
    const cause = why ?? new ClosedError({ code: "closed", retryable: true, detail: `the session ended: ${code} ${reason}` }, code);
    this.settle_(conn, cause);
    if (used || tried) {
      this.lastError_ = cause;
      const refused = error ? permanent(error) : !reconnects(code);
      if (refused && error?.status === 401 && this.tokens_.renewable_ && !this.retried_) {
        this.retried_ = true;
        this.notBefore_ = 0;
      } else if (refused) {
        this.fail_(error ?? new ClosedError({
          code: why?.code ?? (code === 4503 ? "limit_exceeded" : code > 4499 ? "unauthenticated" : "closed"),
          detail: `closed by the server: ${code} ${why?.message ?? reason}`,
        }, code, { cause: why }));
        return;
      } else {
        // A session that did not last counts as a failed attempt, so that a server which welcomes and closes is not
        // met with a tight loop.
        if (used && now() - conn.born_ >= this.backoff_.cap_) this.failures_ = 0;
        this.notBefore_ = now() + this.backoff_.wait_(this.failures_++, error?.retryAfter);
      }
      this.asked_ = false;
    }
    this.touch_();
  }

  /** Takes the unanswered calls back to the front of their queues, in order, or ends them as not known. */
  private settle_(conn: Conn, cause: unknown): void {
    const again: Call[][] = [[], [], []];
    for (const call of conn.calls_.values()) {
      if (call.finished_) continue;
      if (call.resend_) again[this.queues_.indexOf(this.queueOf_(call))]!.push(call);
      else this.finish_(call, outcome(call, cause));
    }
    again.forEach((calls, i) => this.queues_[i]!.unshift(...calls));
    conn.calls_.clear();
    conn.batches_.clear();
    this.user_.lost_(conn);
  }

  // Time.

  /** Looks after the connection at once: the device woke, the network is back, the page is seen again. */
  private wake_(): void {
    const { cur_, opening_ } = this;
    if (opening_) opening_.deadline_ = Math.min(opening_.deadline_, now() + answer);
    if (cur_ && !cur_.excused_) {
      cur_.excused_ = true;
      this.ping_(cur_);
    }
    if (!cur_ && !this.asked_) this.notBefore_ = this.failures_ = 0;
    this.touch_();
  }

  private ping_(conn: Conn): void {
    conn.pinged_ = now();
    conn.session_?.send('{"type":"ping"}');
  }

  /** When a session in use is to be looked after: a ping, or the answer to it. */
  private due_(conn: Conn): number {
    if (conn.pinged_) return conn.pinged_ + answer;
    return conn.heard_ + (conn.calls_.size || conn.batches_.size ? Math.min(conn.ping_, answer) : conn.ping_);
  }

  private arm_(needed: boolean): void {
    let at = Infinity;
    const by = (time: number | undefined) => {
      if (time && time < at) at = time;
    };
    if (needed) {
      if (this.cur_) by(this.due_(this.cur_));
      else if (!this.opening_) by(this.notBefore_);
      for (const conn of [...this.conns_, this.opening_]) by(conn?.deadline_);
      by(this.soonest_);
      for (const task of this.tasks_) by(task.at_);
    }
    if (this.timer_ && (at === Infinity || at < this.timerAt_)) {
      clearTimeout(this.timer_);
      this.timer_ = undefined;
    }
    if (this.timer_ || at === Infinity) return; // a timer that fires early looks again
    const wait = Math.min(Math.max(at - now(), 0), longest);
    this.timerAt_ = now() + wait;
    this.timer_ = setTimeout(() => {
      this.timer_ = undefined;
      this.tick_(now() - this.timerAt_ > late);
    }, wait);
  }

  private tick_(slept: boolean): void {
    const time = now();
    this.soonest_ = Infinity;
    for (const calls of [...[...this.conns_].map((conn) => conn.calls_.values()), ...this.queues_]) {
      for (const call of calls) this.expire_(call, time);
    }
    const due = this.tasks_.filter((task) => task.at_ <= time);
    this.tasks_ = this.tasks_.filter((task) => task.at_ > time);
    for (const task of due) task.run_();
    for (const conn of [...this.conns_, this.opening_]) {
      if (!conn?.deadline_ || conn.deadline_ > time) continue;
      if (conn === this.opening_) this.tokens_.forget_();
      this.giveUp_(conn, "it took too long");
    }
    if (slept) this.wake_();
    const { cur_ } = this;
    if (cur_ && this.due_(cur_) <= time) {
      if (cur_.pinged_) this.giveUp_(cur_, "the server is silent");
      else this.ping_(cur_);
    }
    this.touch_();
  }

  private giveUp_(conn: Conn, why: string): void {
    const { session_ } = conn;
    this.closed_(conn, closePingTimeout, why);
    session_?.close(closePingTimeout);
  }

  private expire_(call: Call, time: number): void {
    if (call.finished_ || !call.until_) return;
    if (call.until_ > time) {
      this.soonest_ = Math.min(this.soonest_, call.until_);
      return;
    }
    const sent = call.sends_ ? "was not answered" : "could not be sent";
    this.finish_(call, outcome(call, failure("unavailable", `the ${call.kind_} ${sent} within its time to live`)));
  }

  private quiet_(): void {
    this.unlisten_?.();
    this.unlisten_ = undefined;
  }

  // State.

  private show_(needed: boolean): void {
    const { cur_, opening_, ended_ } = this;
    const value: Connection = {
      state: ended_ ? "closed" : cur_ ? "open" : opening_ ? "connecting" : needed ? "waiting" : "idle",
      transport: this.transport_.name,
      failures: cur_ ? 0 : this.failures_,
      error: cur_ ? undefined : (ended_ ?? this.lastError_),
    };
    const old = this.state_.value_;
    if ((Object.keys(value) as (keyof Connection)[]).some((key) => value[key] !== old[key])) this.state_.set_(value);
  }

  /** Ends the client: everything that waits gets its outcome now. */
  fail_(error: AckwireError): void {
    if (this.ended_) return;
    this.ended_ = error;
    this.quiet_();
    clearTimeout(this.timer_);
    this.timer_ = undefined;
    for (const conn of [...this.conns_, this.opening_]) {
      if (!conn) continue;
      for (const call of conn.calls_.values()) this.finish_(call, outcome(call, error));
      this.drop_(conn, 1000);
    }
    this.conns_.clear();
    this.cur_ = this.opening_ = undefined;
    for (const queue of this.queues_) for (const call of queue.splice(0)) this.finish_(call, outcome(call, error));
    for (const task of this.tasks_) task.run_();
    this.tasks_ = [];
    this.user_.failed_(error);
    this.show_(false);
  }
}

/** Whether coming back would be refused again; 404 is what a proxy answers while the service behind is replaced. */
function permanent({ retryable, status = 0 }: AckwireError): boolean {
  return !retryable && status > 399 && status < 500 && ![404, 408, 425, 429].includes(status);
}
