// The stores of the streams that are shown. What follows them is loaded when the first one is shown.

import { type AckwireError, unavailable } from "../errors.js";
import { Value } from "../store.js";
import type { Job, StreamCursor } from "../types.js";

/** What is known of a stream. */
export interface StreamSnapshot<T = unknown> {
  /** Of a stream of text: all of it so far. */
  readonly text: string;
  /** Of a stream of items: all of them so far. */
  readonly items: readonly T[];
  /** The stream is whole. */
  readonly end: boolean;
  /** It was too much to keep: the beginning has left. */
  readonly cut: boolean;
  /** Why the stream cannot be followed; undefined while it can. */
  readonly error: AckwireError | undefined;
}

/** The snapshot before anything is known. */
export const nothing: StreamSnapshot<any> = { text: "", items: [], end: false, cut: false, error: undefined };

/** A stream, which is followed while the store has listeners, behind what it has already. */
export class StreamStore extends Value<StreamSnapshot<any>> {
  after_: StreamCursor | undefined;
  private end_!: AbortController;
  readonly job_: Job<any>;
  readonly name_: string;

  constructor(job: Job<any>, name: string) {
    super(nothing);
    this.job_ = job;
    this.name_ = name;
  }

  override first_(): void {
    const { signal } = (this.end_ = new AbortController());
    import("./follow.js").then(({ follow }) => follow(this, signal)).catch((error) => {
      if (!signal.aborted) this.set_({ ...this.value_, error: unavailable("import", error) });
    });
  }

  override none_(): void {
    this.end_.abort();
  }
}
