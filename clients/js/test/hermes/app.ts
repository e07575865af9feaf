// A program as React Native runs it: it submits a job over a socket that is a script, and follows it to its end. Each
// line that it prints is wanted by test/hermes.test.ts.

import { AckwireError, connect } from "../../src/index.js";
import { offline } from "../../src/offline/index.js";
import type { OutboxStorage } from "../../src/offline/index.js";

declare const print: (line: string) => void;

/** A WebSocket whose server answers as ackwire.v1 does. */
class ScriptedSocket {
  static sockets: ScriptedSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  /** Completes the last job. */
  finish = (): void => {};

  constructor(_url: string, protocols: string[]) {
    print(`dialled with ${protocols.join(" ")}`);
    ScriptedSocket.sockets.push(this);
    setTimeout(() => {
      this.onopen?.();
      const limits = { frameBytes: 262144, subscriptions: 1000, inFlightSubmits: 64 };
      this.say({ type: "welcome", connection: "c", protocol: "ackwire.v1", pingInterval: 25, limits });
    }, 0);
  }

  send(text: string): void {
    const frame = JSON.parse(text) as { type: string; id: string; job: string; key: string };
    setTimeout(() => this.answer(frame), 0);
  }

  close(code = 1000, reason = ""): void {
    setTimeout(() => this.onclose?.({ code, reason }), 0);
  }

  private answer({ type, id, job, key }: { type: string; id: string; job: string; key: string }): void {
    if (type === "ping") this.say({ type: "pong", id });
    if (type === "cancel") this.say({ type: "error", id, code: "invalid_state", title: "", retryable: false });
    if (type !== "submit") return;
    print(`sent ${job} with a key of ${key.length} characters`);
    const doc = { jobId: `job-of-${job}`, type: job, attempt: 1, maxAttempts: 3, createdAt: "", updatedAt: "" };
    this.say({ type: "ack", id, jobId: doc.jobId, state: "pending", statusUrl: `/v1/jobs/${doc.jobId}` });
    this.say({ type: "status", version: 1, job: { ...doc, state: "processing", progress: { percent: 50 } } });
    this.finish = () => {
      this.say({ type: "status", version: 2, job: { ...doc, state: "completed", result: { rows: 31 } } });
    };
  }

  private say(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
}

/** AsyncStorage, in memory. */
class MemoryStorage implements OutboxStorage {
  private readonly items = new Map<string, string>();

  async getAllKeys() {
    return Array.from(this.items.keys());
  }

  async getItem(key: string) {
    return this.items.get(key) ?? null;
  }

  async setItem(key: string, value: string) {
    this.items.set(key, value);
  }

  async removeItem(key: string) {
    this.items.delete(key);
  }
}

async function main(): Promise<void> {
  const client = connect({
    url: "https://jobs.example", token: async () => "t", WebSocket: ScriptedSocket as unknown as typeof WebSocket,
  });
  const job = await client.submit("report.generate", { reportType: "sales" });
  print(`acked ${job.id}`);
  for await (const status of job) {
    print(`status ${status.version} ${status.state}`);
    if (status.state === "processing") ScriptedSocket.sockets[0]?.finish();
  }
  print(`result ${JSON.stringify(await job.result())}`);
  try {
    await job.cancel();
  } catch (error) {
    print(`error ${error instanceof AckwireError} ${error instanceof Error} ${(error as AckwireError).code}`);
  }
  const outbox = offline(client, { user: "ada", storage: new MemoryStorage() });
  const kept = await outbox.submit("report.mail", 1);
  print(`outbox ${kept.id} ${outbox.pending().snapshot().length}`);
  outbox.close();
  await client.close();
  print(`closed ${client.connection.snapshot().state} ${ScriptedSocket.sockets.length}`);
}

main().catch((error: Error) => print(`failed ${error.message} ${error.stack}`));
