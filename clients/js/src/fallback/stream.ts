// One request for frames: an event stream that lasts, or a long poll.

import type { AckwireError } from "../errors.js";
import type { Target } from "../types.js";
import { eventData, post, readEvents, refusal } from "./http.js";

/** Milliseconds within which a stream's beginning must come; more where the server first asks for jobs. */
const firstWithin = 5_000;
const jobsWithin = 10_000;
/** Milliseconds without a sign of life after which a stream is given up. The server comments every 25 s. */
const maxSilence = 60_000;
/** Milliseconds that a long poll may take beyond its wait. */
const pollSlack = 15_000;

/** Why a request for frames has ended. */
export type End =
  | { why: "end" } // the server ended it
  | { why: "lost" } // no answer, or it broke
  | { why: "gathered" } // its beginning did not come in time, or cannot be read before its end
  | { why: "refused"; error: AckwireError }
  | { why: "aborted" };

/** What a request asks for, and how. */
export interface Asked {
  readonly token: string | undefined;
  readonly body: string;
  /** Seconds of a long poll; undefined for a stream. */
  readonly wait: number | undefined;
  /** Whether the body names jobs, or all of the subject. */
  readonly follows: boolean;
}

export class Stream {
  /** When it was last heard of, in milliseconds since 1970. */
  heardAt = Date.now();
  private readonly abort = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private end: End | undefined;

  constructor(private readonly target: Target, readonly asked: Asked) {}

  /** Reads frames until the end, and says why it came. After `stop` no frame is told. */
  async run(frame: (text: string) => void, heard: () => void): Promise<End> {
    const { asked } = this;
    const bound = asked.wait === undefined ? (asked.follows ? jobsWithin : firstWithin) : asked.wait * 1000 + pollSlack;
    let first = true;
    const giveUp = (why: "gathered" | "lost") => {
      this.end ??= { why };
      this.abort.abort();
    };
    this.timer = setTimeout(() => giveUp(asked.wait === undefined ? "gathered" : "lost"), bound);
    try {
      const response = await post(this.target, asked.token, "/v1/events", asked.body, this.abort.signal,
        asked.wait === undefined ? { Accept: "text/event-stream" } : { Prefer: `wait=${asked.wait}` });
      if (!response.ok) return this.end ?? { why: "refused", error: await refusal(response) };
      if (!response.body) {
        if (asked.wait === undefined) giveUp("gathered");
        else for (const text of eventData(await response.text())) this.tell(frame, text);
        return this.end ?? { why: "end" };
      }
      await readEvents(response.body, () => {
        this.heardAt = Date.now();
        if (first && asked.wait === undefined) this.watch(() => giveUp("lost"));
        first = false;
        heard();
      }, (text) => this.tell(frame, text));
      return this.end ?? { why: "end" };
    } catch {
      return this.end ?? { why: "lost" };
    } finally {
      clearTimeout(this.timer);
    }
  }

  stop(): void {
    this.end ??= { why: "aborted" };
    clearTimeout(this.timer);
    this.abort.abort();
  }

  private tell(frame: (text: string) => void, text: string): void {
    if (!this.end) frame(text);
  }

  /** Calls `silent` once nothing was heard for too long. */
  private watch(silent: () => void): void {
    clearTimeout(this.timer);
    const left = this.heardAt + maxSilence - Date.now();
    if (left <= 0) return silent();
    this.timer = setTimeout(() => this.watch(silent), left);
  }
}
