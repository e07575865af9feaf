// Time as the client measures it, and the wait before a reconnect.

let last = 0;
let skew = 0;

/**
 * The wall clock in milliseconds, made to never run backward. It is used for every deadline, because timers are
 * throttled in background tabs and stand still while a device sleeps; and a clock that is set back must not stretch
 * a wait.
 */
export function now(): number {
  const time = Date.now();
  if (time < last) skew += last - time;
  last = time;
  return time + skew;
}

/** No timer and no wait is longer than this, in milliseconds. */
export const longest = 60_000;

/** Runs something at a time of now(), by timers that are never longer than a minute, until the result is called. */
export function alarm(at: number, run: () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const set = () => {
    timer = setTimeout(() => (now() < at ? set() : run()), Math.min(at - now(), longest));
  };
  set();
  return () => clearTimeout(timer);
}

/** A number above 0, or `otherwise` in place of anything else. */
export const positive = (value: unknown, otherwise: number): number =>
  (value as number) > 0 ? +(value as number) : otherwise;

/** Converts seconds from the wire to milliseconds, at most {@link longest}; what is not a sane number is 0. */
export const millis = (seconds: unknown): number => Math.min(positive(seconds, 0) * 1000, longest);

/** Waits with full jitter: anywhere between 0 and min(cap, base × 2^failures). */
export class Backoff {
  readonly base_: number;
  readonly cap_: number;

  constructor({ base, cap }: { base?: number; cap?: number } = {}) {
    this.base_ = positive(base, 100);
    this.cap_ = Math.min(Math.max(positive(cap, 10_000), this.base_), longest);
  }

  /** Draws the wait after so many failures in a row, in milliseconds, behind the seconds that the server asked for. */
  wait_(failures: number, seconds?: number): number {
    return Math.random() * Math.min(this.cap_, this.base_ * 2 ** failures) + millis(seconds);
  }
}
