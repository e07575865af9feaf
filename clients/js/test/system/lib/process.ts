// Real processes of Ackwire: started on free ports, killed with SIGKILL, started again on the same ones.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the programs, which `make js-test` builds. */
export const bin = process.env["ACKWIRE_BIN"] ?? fileURLToPath(new URL("../../../../../bin", import.meta.url));

/** Addresses on loopback that were free a moment ago. */
export async function freeAddresses(n: number): Promise<string[]> {
  const servers = Array.from({ length: n }, () => createServer());
  const addresses = await Promise.all(
    servers.map((s) => new Promise<string>((resolve, reject) => {
      s.once("error", reject);
      s.listen(0, "127.0.0.1", () => resolve(`127.0.0.1:${(s.address() as { port: number }).port}`));
    })),
  );
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))));
  return addresses;
}

/** Waits until `done` answers true, and fails after `within` milliseconds with what `what` says. */
export async function until(what: string | (() => string), done: () => boolean | Promise<boolean>, within = 30_000): Promise<void> {
  const end = Date.now() + within;
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`not within ${within} ms: ${typeof what === "string" ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Whether somebody listens at host:port. */
function accepts(address: string): Promise<boolean> {
  const [host, port] = address.split(":") as [string, string];
  return new Promise((resolve) => {
    const socket = connect(Number(port), host, () => { socket.destroy(); resolve(true); });
    socket.once("error", () => resolve(false));
  });
}

/** One process. `ready` is where it answers: its operations listener, and for a broker its own. */
export class Process {
  private child: ChildProcess | undefined;
  private exited: Promise<void> = Promise.resolve();
  /** The end of what it printed. */
  log = "";
  /** How much of it is kept, in characters. */
  keep = 20_000;

  constructor(readonly name: string, readonly ready: string, readonly args: string[]) {}

  async start(): Promise<this> {
    const child = spawn(join(bin, this.name), this.args, { stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"] } });
    this.child = child;
    const keep = (b: Buffer) => { this.log = (this.log + b.toString()).slice(-this.keep); };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    let gone = false;
    this.exited = new Promise((resolve) => {
      const end = (why: unknown) => { gone = true; keep(Buffer.from(`\n[${this.name} ended: ${String(why)}]\n`)); resolve(); };
      child.once("exit", (code, signal) => end(signal ?? code));
      child.once("error", end);
    });
    await until(() => `${this.name} is ready; it printed:\n${this.log}`, async () => {
      if (gone) throw new Error(`${this.name} ended before it was ready:\n${this.log}`);
      return this.name === "ackwire" && this.args[0] === "broker"
        ? accepts(this.ready)
        : fetch(`http://${this.ready}/readyz`).then((r) => r.ok, () => false);
    }, 60_000);
    return this;
  }

  /** Sends a signal, and waits for the end. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.child?.kill(signal);
    await this.exited;
  }
}

/** A system under test: processes and folders that `stop` takes away. */
export interface System {
  /** Addresses (host:port) of the gateways. */
  gateways: string[];
  processes: Process[];
  data: string;
  stop(): Promise<void>;
}

function system(gateways: string[], processes: Process[], data: string): System {
  return {
    gateways, processes, data,
    async stop() {
      await Promise.all(processes.map((p) => p.kill()));
      rmSync(data, { recursive: true, force: true });
    },
  };
}

const folder = () => mkdtempSync(join(tmpdir(), "ackwire-js-"));

/** `ackwire serve`: everything in one process, which keeps its ports and its data over a kill. */
export async function serve(...more: string[]): Promise<System> {
  const data = folder();
  const [listen, ops, tracker, kafka] = (await freeAddresses(4)) as [string, string, string, string];
  const p = new Process("ackwire", ops, ["serve", "--data", data, "--listen", listen, "--ops-listen", ops,
    "--tracker-listen", tracker, "--kafka-listen", kafka, "--allowed-origins", "*", "--grace", "1s", ...more]);
  await p.start();
  return system([listen], [p], data);
}

/** Each service as a process of its own, with two gateways. The gateways come first in `processes`. */
export async function twoGateways(): Promise<System> {
  const data = folder();
  const a = await freeAddresses(8);
  const at = (i: number) => a[i] as string;
  const kafka = at(0);
  const broker = new Process("ackwire", kafka, ["broker", "--data", join(data, "broker"), "--listen", kafka]);
  await broker.start();
  const gateway = (i: 1 | 3) => new Process("gateway", at(i + 1), ["--kafka", kafka, "--listen", at(i), "--ops-listen", at(i + 1),
    "--anonymous-tenant", "local", "--allowed-origins", "*"]);
  const all = [
    gateway(1), gateway(3),
    new Process("tracker", at(5), ["--kafka", kafka, "--data", join(data, "tracker"), "--tracker-listen", at(6), "--ops-listen", at(5),
      "--tracker-session-timeout", "6s"]),
    new Process("processor", at(7), ["--kafka", kafka, "--lanes", "default,reports", "--demo", "--ops", at(7)]),
  ];
  await Promise.all(all.map((p) => p.start()));
  return system([at(1), at(3)], [...all, broker], data);
}

/** Each service as a process of its own, with one gateway and a worker that have more arguments. */
export async function apart(ofGateway: string[], ofWorker: string[]): Promise<System> {
  const data = folder();
  const [kafka, listen, ops, trackerOps, tracker, workerOps] = (await freeAddresses(6)) as [string, string, string, string, string, string];
  const broker = new Process("ackwire", kafka, ["broker", "--data", join(data, "broker"), "--listen", kafka]);
  await broker.start();
  const all = [
    new Process("gateway", ops, ["--kafka", kafka, "--listen", listen, "--ops-listen", ops, "--anonymous-tenant", "local", ...ofGateway]),
    new Process("tracker", trackerOps, ["--kafka", kafka, "--data", join(data, "tracker"), "--tracker-listen", tracker,
      "--ops-listen", trackerOps, "--tracker-session-timeout", "6s"]),
    new Process("processor", workerOps, ["--kafka", kafka, "--ops", workerOps, ...ofWorker]),
  ];
  await Promise.all(all.map((p) => p.start()));
  return system([listen], [...all, broker], data);
}

/** Runs a program to its end and returns what it printed; fails unless it ends with 0. */
export async function run(name: string, ...args: string[]): Promise<string> {
  const child = spawn(join(bin, name), args, { stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"] } });
  let out = "", all = "";
  child.stdout.on("data", (b: Buffer) => { out += b.toString(); all += b.toString(); });
  child.stderr.on("data", (b: Buffer) => { all += b.toString(); });
  const code = await new Promise<number | null>((resolve, reject) => { child.once("close", resolve); child.once("error", reject); });
  if (code !== 0) throw new Error(`${name} ${args.join(" ")} ended with ${code}:\n${all}`);
  return out;
}
