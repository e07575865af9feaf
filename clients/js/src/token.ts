// The bearer token: asked once for all that wait.

import type { ConnectOptions } from "./types.js";

export class Tokens {
  readonly renewable_: boolean;
  private readonly source_: ConnectOptions["token"];
  private asked_: Promise<string | undefined> | undefined;
  private last_: Promise<string | undefined> | undefined;

  constructor(source: ConnectOptions["token"]) {
    this.source_ = source;
    this.renewable_ = typeof source === "function";
  }

  /** Asks for a token; everybody who asks meanwhile gets the same answer. */
  fetch_(): Promise<string | undefined> {
    if (this.asked_) return this.asked_;
    const source = this.source_;
    const asked = new Promise<string | undefined>((resolve) => resolve(typeof source === "function" ? source() : source));
    this.asked_ = asked;
    const over = () => this.forget_(asked);
    asked.then(() => {
      this.last_ = asked;
      over();
    }, over);
    return asked;
  }

  /** The last token, or a first one. */
  current_(): Promise<string | undefined> {
    return this.last_ ?? this.fetch_();
  }

  /** Lets the next one ask anew, though a question may not be answered yet. */
  forget_(asked = this.asked_): void {
    if (this.asked_ === asked) this.asked_ = undefined;
  }
}
