// A client that is nothing but a session of a transport, and what it was told.

import type { AckwireError } from "../../src/errors.js";
import type { Session, Target, Transport } from "../../src/types.js";

export type Frame = { type: string; [member: string]: any };

export class FrameClient {
  readonly frames: Frame[] = [];
  readonly ends: { code: number; reason: string; error: AckwireError | undefined }[] = [];
  readonly session: Session;
  unreadable = 0;
  private readonly waiting = new Set<() => void>();
  private seen = 0;
  private ids = 0;

  constructor(transport: Transport, target: Partial<Target> & { base: string }) {
    const whole: Target = {
      query: "", token: undefined, tickets: false, WebSocket: undefined, standard: transport,
      fetch: (input, init) => fetch(input, init), ...target,
    };
    this.session = transport.open(whole, {
      frame: (text) => {
        try {
          this.frames.push(JSON.parse(text) as Frame);
        } catch {
          this.unreadable++;
        }
        this.wake();
      },
      closed: (code, reason, error) => {
        this.ends.push({ code, reason, error });
        this.wake();
      },
    });
  }

  private wake(): void {
    for (const wake of [...this.waiting]) wake();
  }

  /** Waits until something holds, which frames bring about. */
  until(what: string, holds: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (holds()) {
          this.waiting.delete(look);
          resolve();
        } else if (this.ends.length > 0) {
          this.waiting.delete(look);
          reject(new Error(`${what}: the session has ended with ${JSON.stringify(this.ends)}`));
        }
      };
      this.waiting.add(look);
      look();
    });
  }

  /** Sends a frame, with an ID, which it returns. */
  send(frame: Frame): string {
    const id = String(++this.ids);
    const { type, ...rest } = frame;
    this.session.send(JSON.stringify({ type, id, ...rest }));
    return id;
  }

  /** Sends a frame and waits for its answer. */
  async ask(frame: Frame): Promise<Frame> {
    const id = this.send(frame);
    await this.until(`the answer to ${frame.type}`, () => this.frames.some((f) => f.id === id));
    return this.frames.find((f) => f.id === id)!;
  }

  /** Waits for the next frame that fits, behind the last that was waited for. */
  async next(what: string, fits: (frame: Frame) => boolean): Promise<Frame> {
    const find = () => this.frames.findIndex((f, i) => i >= this.seen && fits(f));
    await this.until(what, () => find() >= 0);
    const i = find();
    this.seen = i + 1;
    return this.frames[i]!;
  }

  ended(): Promise<{ code: number; error: AckwireError | undefined }> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.ends.length === 0) return;
        this.waiting.delete(look);
        resolve(this.ends[0]!);
      };
      this.waiting.add(look);
      look();
    });
  }

  /** The statuses that were told of a job: version and state. */
  statuses(jobId: string): [number, string][] {
    const of = this.frames.filter((f) => f.type === "status" && f.job.jobId === jobId);
    return of.map(({ version, job }) => [version, job.state]);
  }
}
