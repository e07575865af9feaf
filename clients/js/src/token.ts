// The bearer token: asked once for all that wait.

import type { ConnectOptions } from "./types.js";

export interface Tokens {
  /** Whether another question may bring another token. */
  readonly renewable_: boolean;
  /** Asks for a token; everybody who asks meanwhile gets the same answer. */
  fetch_(): Promise<string | undefined>;
  /** The last token, or a first one. */
  current_(): Promise<string | undefined>;
  /** Lets the next one ask anew, though a question may not be answered yet. */
  forget_(): void;
}

export function createTokens(source: ConnectOptions["token"]): Tokens {
  const renewable_ = typeof source === "function";
  let asked: Promise<string | undefined> | undefined;
  let last: Promise<string | undefined> | undefined;
  const fetch_ = () => {
    if (asked) return asked;
    const question = (asked = new Promise((resolve) => resolve(renewable_ ? source() : source)));
    const over = () => {
      if (asked === question) asked = undefined;
    };
    question.then(() => {
      last = question;
      over();
    }, over);
    return question;
  };
  return {
    renewable_, fetch_,
    current_: () => last ?? fetch_(),
    forget_() {
      asked = undefined;
    },
  };
}
