// A handler writes a stream with the client of Durable Streams, and others follow it with it, while the processes of Ackwire
// are killed: in the end each has exactly what the run that counts has written.

import { DurableStream, DurableStreamError, FetchError, IdempotentProducer, stream } from "@durable-streams/client";
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { apart, until, type System } from "./lib/process.js";

const type = "tale.write";
let system: System;
let folder: string;
let mayEnd = false;
let pythons: ChildProcess | undefined;
let env: NodeJS.ProcessEnv | undefined; // in which Python finds the client
/** What each run has written, and had an answer for. */
const runs: string[] = [];

/** The handler: it writes words to the stream `tokens` until it may end. */
const handler = createServer((q, r) => {
  let gone = false;
  r.on("close", () => { gone = true; });
  const url = `${String(q.headers["ackwire-streams"])}/tokens`;
  const run = runs.push("") - 1;
  (async () => {
    const tokens = await DurableStream.create({ url, contentType: "text/plain" });
    const producer = new IdempotentProducer(tokens, "handler", { onError: () => { gone = true; } });
    for (let word = 0; !gone && (!mayEnd || word < 50); word++) {
      const text = `${word} wörd${word % 7 === 0 ? "\n" : " "}`;
      producer.append(text);
      await producer.flush();
      if (!gone) runs[run] += text;
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    r.writeHead(200, { "content-type": "application/json" }).end("null");
  })().catch(() => r.destroy());
});

beforeAll(async () => {
  env = pythonEnv(); // before anything runs: it waits for pip
  folder = mkdtempSync(join(tmpdir(), "ackwire-types-"));
  const types = join(folder, "types.yaml");
  writeFileSync(types, `types:\n  ${type}: {attempts: 3, lease: 3s, backoff: {initial: 0.2s}}\n`);
  await new Promise<void>((resolve) => handler.listen(0, "127.0.0.1", resolve));
  const at = (handler.address() as AddressInfo).port;
  system = await apart(["--job-types", types], ["--job-types", types, "--type", `${type}=http://127.0.0.1:${at}/`]);
}, 150_000);
afterAll(async () => {
  pythons?.kill();
  await system?.stop();
  handler.closeAllConnections();
  handler.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Follows a text with the client: from the last offset when it has given up, from the beginning after a reset. */
class Follower {
  text = "";
  resets = 0;
  private offset = "-1";

  constructor(private readonly url: string, private readonly live: "long-poll" | "sse") {}

  async run(): Promise<void> {
    for (let closed = false; !closed;) {
      try {
        const answers = await stream({ url: this.url, offset: this.offset, live: this.live });
        answers.subscribeText((chunk) => {
          this.text += chunk.text;
          this.offset = chunk.offset;
        });
        await answers.closed;
        closed = answers.streamClosed;
        await until("the last text is told", () => this.offset === answers.offset);
      } catch (e) {
        if ((e instanceof FetchError || e instanceof DurableStreamError) && e.status === 410) {
          this.text = "";
          this.offset = "-1";
          this.resets++;
        }
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }
}

/** The requirement of the Python client. */
const requirement = "durable-streams==0.1.0";

/** The environment in which Python finds the client, which pip installs; undefined without Python or a package index. */
function pythonEnv(): NodeJS.ProcessEnv | undefined {
  const target = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "ackwire-python", requirement);
  const env = { ...process.env, PYTHONPATH: target };
  const there = () => spawnSync("python3", ["-c", "import durable_streams"], { env }).status === 0;
  if (there()) return env;
  spawnSync("python3", ["-m", "pip", "install", "--quiet", "--target", target, requirement], { timeout: 60_000 });
  return there() ? env : undefined;
}

/** Follows with the Python client, if there is one. */
function python(url: string): Promise<{ text: string; resets: number }> | undefined {
  if (!env) return undefined;
  const program = fileURLToPath(new URL("lib/follow.py", import.meta.url));
  const child = spawn("python3", [program, url], { env, stdio: ["ignore", "pipe", "inherit"] });
  pythons = child;
  let out = "";
  child.stdout.on("data", (b: Buffer) => { out += b.toString(); });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve(JSON.parse(out) as { text: string; resets: number }) : reject(new Error(`python: ${code}`))));
  });
}

test("a stream is followed through kills of gateway, tracker and worker", async () => {
  const gateway = `http://${system.gateways[0]}`;
  const answer = await fetch(`${gateway}/v1/jobs`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ job: type, payload: null }),
  });
  const { jobId } = (await answer.json()) as { jobId: string };
  const url = `${gateway}/v1/jobs/${jobId}/streams/tokens`;
  const followers = [new Follower(url, "long-poll"), new Follower(url, "sse")];
  const all = followers.map((f) => f.run());
  const inPython = python(url);
  const goesOn = async () => {
    const was = followers.map((f) => ({ length: f.text.length, resets: f.resets }));
    await until(() => `the stream goes on: ${JSON.stringify(followers)}`.slice(0, 300), () => followers.every((f, i) =>
      f.resets > was[i]!.resets ? f.text.length > 50 : f.text.length > was[i]!.length + 50), 60_000);
  };
  await goesOn();
  for (const name of ["gateway", "tracker", "processor"]) {
    const process = system.processes.find((p) => p.name === name)!;
    await process.kill();
    await process.start();
    await goesOn();
  }
  mayEnd = true;
  await Promise.all(all);
  const want = runs.at(-1);
  expect(runs.length).toBe(2);
  const job = (await (await fetch(`${gateway}/v1/jobs/${jobId}`)).json()) as { state: string; streams: unknown };
  expect(job).toMatchObject({ state: "completed", streams: { tokens: { kind: "text", total: Buffer.byteLength(want!) } } });
  for (const f of followers) expect(f).toMatchObject({ text: want, resets: 1 });
  const late = new Follower(url, "sse");
  await late.run();
  expect(late.text).toBe(want);
  if (inPython) expect(await inPython).toEqual({ text: want, resets: 1 });
  else console.warn("left out: the Python client of Durable Streams, which needs python3 with pip and a package index");
}, 180_000);
