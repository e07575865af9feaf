// A handle for one job.

import type { Client } from "./client.js";
import { JobError } from "./errors.js";
import { asyncIterator } from "./iterate.js";
import { Value } from "./store.js";
import type { CallOptions, Job, JobSnapshot, State, Status, WatchOptions } from "./types.js";
import { type Sub, terminal } from "./watch.js";

const unknown: JobSnapshot<any> = { status: undefined, error: undefined };

export class Handle extends Value<JobSnapshot<any>> implements Job<any> {
  readonly id: string;
  readonly duplicate: boolean;
  private readonly client_: Client;
  private acked_: Sub | undefined;
  /** The store's own subscription, while it has listeners and the job has not ended. */
  private sub_: Sub | undefined;
  private resets_ = 0;

  /** `acked` is the subscription that the submit's ack began: it may have brought the end already. */
  constructor(client: Client, id: string, duplicate = false, acked?: Sub) {
    super(unknown);
    this.client_ = client;
    this.id = id;
    this.duplicate = duplicate;
    this.acked_ = acked;
  }

  watch({ after, signal }: WatchOptions = {}): AsyncIterableIterator<Status<any>, undefined, undefined> {
    const seen = Math.floor(after! > 0 ? after! : 0);
    return this.client_.watches_.follow_(() => this.join_(seen), seen, signal);
  }

  [asyncIterator](): AsyncIterableIterator<Status<any>, undefined, undefined> {
    return this.watch();
  }

  private join_(after: number): Sub {
    const sub = this.acked_;
    // A terminal document that is here is told again without asking.
    return sub?.ended_ && !sub.error_ ? sub : this.client_.watches_.join_(this.id, after);
  }

  async wait(options?: CallOptions): Promise<Status<any>> {
    const statuses = this.watch(options);
    let status: Status<any> | undefined;
    for (;;) {
      const { value } = await statuses.next();
      if (!value) return status!;
      status = value;
    }
  }

  async result(options?: CallOptions): Promise<any> {
    const status = await this.wait(options);
    if (status.state !== "completed") throw new JobError(status);
    return status.result === undefined && status.resultUrl ? this.client_.download_(this.id, options) : status.result;
  }

  get(options?: CallOptions): Promise<Status<any>> {
    return this.client_.get(this.id, options);
  }

  why(options?: CallOptions): Promise<unknown> {
    return this.client_.why(this.id, options);
  }

  cancel(options?: CallOptions): Promise<State> {
    return this.client_.cancel(this.id, options);
  }

  retry(options?: CallOptions): Promise<State> {
    this.acked_ = undefined; // the job may be opened again: forget the end that was seen
    return this.client_.retry(this.id, options);
  }

  deliveries(options?: CallOptions): Promise<unknown> {
    return this.client_.deliveries(this.id, options);
  }

  // The store.

  override first_(): void {
    this.client_.handles_.add(this);
    const { status } = this.value_;
    if (!status || !terminal(status.state)) this.start_();
  }

  override none_(): void {
    this.client_.handles_.delete(this);
    this.stop_();
  }

  private start_(): void {
    try {
      this.sub_ = this.join_(this.value_.status?.version ?? 0);
      this.resets_ = this.sub_.resets_;
      this.sub_.wakes_.add(this.changed_);
      this.changed_();
    } catch (error) {
      this.set_({ ...this.value_, error: error as any });
    }
  }

  private stop_(): void {
    if (!this.sub_) return;
    this.sub_.wakes_.delete(this.changed_);
    this.client_.watches_.part_(this.sub_);
    this.sub_ = undefined;
  }

  /** The job was opened again through this client: it is followed again. */
  reopened_(): void {
    this.stop_();
    this.start_();
  }

  private changed_ = (): void => {
    const { latest_, error_, resets_ } = this.sub_!;
    const { status, error } = this.value_;
    const newer = latest_ && (resets_ !== this.resets_ || latest_.version > (status?.version ?? 0));
    this.resets_ = resets_;
    if (newer || error_ !== error) this.set_({ status: newer ? latest_ : status, error: error_ });
  };
}
