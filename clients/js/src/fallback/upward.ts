// Whether the preferred transport works by now, looked at beside an open session of the fallback.

import { better } from "../choose.js";
import type { Session, Target } from "../types.js";

/** Milliseconds between two looks, and before the first. */
const lookAgain = 300_000;

/** Looks from time to time whether the preferred transport opens a session. It has no timer: `look` is called often. */
export class Upward {
  private due = Date.now() + lookAgain;
  private probe: Session | undefined;

  /** `found` is called with the `goaway` frame that leads the client to the preferred transport. */
  constructor(private readonly target: Target, private readonly found: (goaway: string) => void) {}

  look(token: string | undefined): void {
    if (!this.target.preferred || this.probe || Date.now() < this.due) return;
    this.due = Date.now() + lookAgain;
    let over = false;
    const probe = this.target.preferred.open({ ...this.target, token }, {
      frame: () => {
        if (over) return;
        over = true;
        this.probe?.close(1000);
        this.found(`{"type":"goaway",${better},"reconnectAfter":0}`);
      },
      closed: () => {
        over = true;
        this.probe = undefined;
      },
    });
    if (!over) this.probe = probe;
  }

  stop(): void {
    this.due = Infinity;
    this.probe?.close(1000);
  }
}
