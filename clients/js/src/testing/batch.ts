// Batches, as the server in memory takes them.

import type { Problem } from "../errors.js";
import type { Identity } from "./access.js";
import { problem, Refusal } from "./codes.js";
import type { Engine } from "./engine.js";
import type { Ack, JobRecord, Submit } from "./record.js";

const most = 1000; // jobs of a batch
const mostGrants = 100;

type Result = { outcome: "acked"; ack: Ack } | { outcome: "refused" | "unknown"; error: Problem };

interface Made {
  ack: Ack;
  record: JobRecord;
  streams: Submit["streams"];
}

/** A batch: each of its jobs is made or refused by itself. */
export class Batch {
  results: Result[] = [];
  readonly #jobs: readonly unknown[];
  readonly #refusals: (Refusal | undefined)[];
  readonly #made: Made[] = [];

  /** Takes the refusals that the test asked for, one for each job. Throws if `jobs` is no batch. */
  constructor(private readonly engine: Engine, jobs: unknown) {
    if (!Array.isArray(jobs) || jobs.length === 0) {
      throw new Refusal("invalid_frame", `jobs must be a list of 1 to ${most} submits`);
    }
    if (jobs.length > most) throw new Refusal("limit_exceeded", `a batch may have ${most} submits`);
    this.#jobs = jobs;
    this.#refusals = jobs.map(() => engine.refusal("submit"));
  }

  /** Submits the jobs in their order; `watches` says whether one is watched, or throws. Returns those that are. */
  submit(who: Identity, watches: (submit: Submit) => boolean): Made[] {
    const watched: Made[] = [];
    let grants = 0;
    this.results = this.#jobs.map((job, i): Result => {
      try {
        if (typeof job !== "object" || job === null || Array.isArray(job)) {
          throw new Refusal("invalid_frame", "not a JSON object");
        }
        const submit = job as Submit;
        if (submit.grant && ++grants > mostGrants) {
          throw new Refusal("limit_exceeded", `${mostGrants} submits of a batch may ask for a grant`);
        }
        const watch = watches(submit);
        if (this.#refusals[i]) throw this.#refusals[i];
        const made = { ...this.engine.submit(submit, who), streams: submit.streams };
        this.#made.push(made);
        if (watch) watched.push(made);
        return { outcome: "acked", ack: made.ack };
      } catch (err) {
        const error = err instanceof Refusal ? err.problem : problem("internal", String(err));
        return { outcome: error.code === "indeterminate" || error.code === "internal" ? "unknown" : "refused", error };
      }
    });
    return watched;
  }

  /** Whether the test loses the answer. */
  lost(): boolean {
    if (this.#made.length === 0 || this.engine.acksToLose <= 0) return false;
    this.engine.acksToLose--;
    return true;
  }

  /** Announces the new jobs, after the answer. */
  announce(): void {
    for (const { ack, record } of this.#made) if (!ack.duplicate) this.engine.announce(record);
  }
}
