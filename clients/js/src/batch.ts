// Batches: many submits in one frame. Loaded when the first is submitted.

import type { Call, Conn, Frame } from "./conn.js";
import { AckwireError, failure, IndeterminateError } from "./errors.js";
import { createJob, type JobContext } from "./job.js";
import type { Link, Part } from "./link.js";
import { quote, random } from "./text.js";
import { now } from "./time.js";
import type { BatchItem, BatchOptions, BatchResult, Job } from "./types.js";
import type { Sub } from "./watch.js";

const most = 1000; // jobs of a batch
const tenMinutes = 600_000;

/** One job of a batch that is being submitted. */
interface Item {
  key_: string | undefined;
  watch_: boolean;
  streams_: readonly string[] | undefined;
  body_: string;
  /** The last answer that left open whether the job exists. */
  doubt_?: IndeterminateError;
}

interface BatchCall extends Call {
  items_: Item[];
  /** The subscriptions that acks began, by the index of their item. */
  subs_: (Sub | undefined)[];
}

/** Whether a result has the form of one. */
const sound = (result: any): boolean =>
  result?.outcome === "acked"
    ? typeof result.ack?.jobId === "string" && !!result.ack.jobId && typeof result.ack.state === "string"
    : (result?.outcome === "refused" || result?.outcome === "unknown") && typeof result.error?.code === "string";

/** The batches of one client. */
export class Batches implements Part {
  constructor(private readonly link_: Link, private readonly context_: JobContext) {
    link_.parts_.push(this);
  }

  any_(): boolean {
    return false; // its calls need the connection by themselves
  }

  opened_(): void {}

  fail_(): void {}

  /** Here and not where the call is awaited: the next frame may already be the first status of one of the jobs. */
  take_(conn: Conn, frame: Frame, call?: Call): boolean | void {
    if (frame.type !== "acks" || !call) return;
    const { items_: items, subs_: subs } = call as BatchCall;
    if (call.kind_ !== "submitBatch") return false; // it answers another kind of request
    const { results } = frame;
    if (!Array.isArray(results) || results.length !== items.length || !results.every(sound)) {
      this.link_.answer_(conn, call, failure("indeterminate", "bad answer", true));
      return false;
    }
    results.forEach(({ ack }, i) => {
      const { watch_, streams_ } = items[i]!;
      if (!ack || !watch_) return;
      subs[i] = this.context_.watches_.acked_(conn, ack.jobId, !!call.finish_);
      if (streams_ && call.finish_) this.asked_?.(conn, ack, streams_);
    });
    this.link_.answer_(conn, call, undefined, frame);
  }

  /** Keeps what the streams that a submit asked for bring; set once they are loaded. */
  private asked_?: (conn: Conn, ack: Frame, names: readonly string[]) => void;

  async submit_(given: readonly BatchItem[], options: BatchOptions = {}): Promise<BatchResult[]> {
    const { ttl = tenMinutes, signal: signal_ } = options;
    if (!given.length) throw failure("invalid_frame", "a batch has at least one job");
    if (given.length > most) throw failure("limit_exceeded", `a batch may have ${most} jobs, this one has ${given.length}`);
    const items = given.map(({ type: job, payload = null, key, watch, ...fields }): Item => {
      const key_ = key === false ? undefined : (key ?? random());
      const watch_ = watch !== false;
      const body_ = quote({ ...fields, job, payload, key: key_, watch: watch_ ? undefined : watch });
      return { key_, watch_, streams_: fields.streams, body_ };
    });
    if (items.some(({ streams_ }) => streams_)) {
      const streams = await this.context_.streams_(); // what takes them is there before they come
      this.asked_ = (conn, ack, names) => streams.acked_(conn, ack, names);
    }
    const until_ = now() + ttl;
    const results: BatchResult[] = [];
    let pending = items.map((_, i) => i);
    for (let tries = 0; ; tries++) {
      const items_ = pending.map((i) => items[i]!);
      const call: BatchCall = {
        kind_: "submitBatch", rank_: 2, body_: `,"jobs":[${items_.map(({ body_ }) => body_).join()}]}`,
        resend_: items_.every(({ key_ }) => key_), until_, signal_, items_, subs_: [],
      };
      let answers: Frame[] | undefined;
      let whole: any;
      try {
        answers = (await this.link_.call_(call)).results ?? [];
      } catch (error) {
        whole = error;
        const open = error instanceof IndeterminateError || (error as AckwireError).code === "indeterminate";
        const again = call.answered_ && call.sends_! > 1 && (error as AckwireError).retryable;
        if (signal_?.aborted || (!tries && !open && !again)) throw error;
      }
      let wait = 0;
      const again = pending.filter((i, at) => {
        const item = items[i]!;
        const answer = answers?.[at];
        if (answer?.ack) {
          const job: Job<any> = createJob(this.context_, answer.ack.jobId, call.subs_[at], answer.ack);
          results[i] = { outcome: "acked", job };
          return false;
        }
        const error: AckwireError = answer ? new AckwireError(answer.error) : whole;
        const open = answer?.outcome === "unknown" || error.code === "indeterminate";
        if (open || (call.sends_! > 1 && error.retryable)) {
          const cause = error instanceof IndeterminateError ? error.cause : error;
          item.doubt_ = new IndeterminateError(cause, item.key_, error.jobId ?? item.doubt_?.jobId);
        }
        const doubt = open || error.retryable || !(answer || call.answered_) ? item.doubt_ : undefined;
        results[i] = doubt ? { outcome: "unknown", error: doubt } : { outcome: "refused", error };
        wait = Math.max(wait, error.retryAfter ?? 0);
        return doubt && item.key_;
      });
      const delay = this.link_.backoff_.wait_(tries, wait || undefined);
      if (!again.length || this.link_.ended_ || now() + delay >= until_) return results;
      try {
        await this.link_.sleep_(delay, signal_);
      } catch (error) {
        if (signal_?.aborted) throw error;
        return results;
      }
      pending = again;
    }
  }
}
