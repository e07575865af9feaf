// What clients saw, in the form that `loadtest check` judges (loadtest/history/record.go).

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./process.js";

/** One record; names as in the file. */
export interface Record {
  k: "open" | "close" | "ack" | "retry" | "watch" | "watched" | "status" | "get" | "fault" | "end";
  c?: number; n?: number; j?: string; v?: number; s?: string; w?: boolean; reset?: boolean; code?: number; text?: string;
}

export class History {
  private readonly began = performance.now();
  private readonly lines: string[];

  constructor(scenario: string, endsWithin = 60) {
    this.lines = [JSON.stringify({ t: 0, k: "run", run: {
      format: 1, scenario, began: new Date().toISOString(), endsWithin, deliverWithin: endsWithin,
    } })];
  }

  add(r: Record): void {
    this.lines.push(JSON.stringify({ t: Math.round((performance.now() - this.began) * 1000), ...r }));
  }

  fault(text: string): void { this.add({ k: "fault", text }); }

  /** The IDs of all jobs that were acked. */
  acked(): string[] {
    const ids = this.lines.map((l) => JSON.parse(l) as Record).filter((r) => r.k === "ack").map((r) => r.j as string);
    return [...new Set(ids)];
  }

  /** Reads each acked job once more from a gateway, ends the history, and has the checker judge it. */
  async judge(gateway: string, token?: string): Promise<void> {
    for (const id of this.acked()) {
      const r = await fetch(`http://${gateway}/v1/jobs/${id}`, token ? { headers: { Authorization: `Bearer ${token}` } } : {});
      const job = r.ok ? (await r.json()) as { state: string } : undefined;
      this.add({ k: "get", j: id, code: r.status, ...(job && { s: job.state }) });
    }
    this.add({ k: "end" });
    const dir = mkdtempSync(join(tmpdir(), "ackwire-history-"));
    try {
      const file = join(dir, "history.jsonl");
      writeFileSync(file, this.lines.join("\n") + "\n");
      await run("loadtest", "check", file);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  }
}
