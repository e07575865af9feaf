// The scripts for servers, which the services run, too: clients/testdata/servers/README.md says how they are written.

import { readdirSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createServer, type TestServer } from "../src/testing/index.js";

type Any = any;

interface Script {
  name: string;
  steps: Any[];
}

const folder = new URL("../../testdata/servers/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
const longest = 120; // seconds that an answer may take

/** A client's end of a socket. */
interface Socket {
  ws: WebSocket;
  frames: string[];
  ended: number | undefined;
}

/** One script at work. */
class Run {
  readonly server: TestServer = createServer({ tokens: { "token-of-alice": "alice" }, types: ["demo.echo", "demo.sleep"] });
  readonly sockets = new Map<string, Socket>();
  readonly bound = new Map<string, Any>([
    ["alice", "token-of-alice"], ["never", "01a208fd-2dc6-7467-acd5-bb987da2c71e"],
    ["inAnHour", new Date(Date.now() + 3_600_000).toISOString()],
  ]);

  async step(s: Any): Promise<void> {
    const socket = this.sockets.get(s.on)!;
    if ("ask" in s) await this.ask(s);
    else if ("open" in s) await this.open(s);
    else if ("say" in s) socket.ws.send(JSON.stringify(this.filled(s.say)));
    else if ("hear" in s) await this.hear(socket, s.hear);
    else if ("silent" in s) {
      await vi.advanceTimersByTimeAsync(s.silent * 1000);
      expect([socket.frames, socket.ended]).toEqual([[], undefined]);
    } else if ("ends" in s) {
      await this.until(() => socket.ended !== undefined || socket.frames.length > 0);
      expect([socket.frames, socket.ended]).toEqual([[], s.ends]);
    } else if ("leave" in s) this.sockets.get(s.leave)!.ws.close();
    else if ("pass" in s) await vi.advanceTimersByTimeAsync(s.pass * 1000);
    else throw new Error("no such step");
  }

  /** Lets time pass until something is so. */
  private async until(is: () => boolean): Promise<void> {
    await vi.advanceTimersByTimeAsync(0);
    for (let passed = 0; !is() && passed < longest * 10; passed++) await vi.advanceTimersByTimeAsync(100);
    expect(is(), "it did not happen in time").toBe(true);
  }

  private async ask({ ask, as, body, status, answer }: Any): Promise<void> {
    const [method, path] = ask.split(" ");
    const headers: Record<string, string> = {};
    if (as) headers["Authorization"] = `Bearer ${this.text(as)}`;
    if (body) headers["Content-Type"] = "application/json";
    const response = await this.server.fetch(this.server.url + this.text(path), {
      method, headers, ...(body && { body: JSON.stringify(this.filled(body)) }),
    });
    const text = await response.text();
    expect([response.status, text]).toEqual([status, text]);
    expect(response.headers.get("Referrer-Policy")).toBe("no-referrer");
    if (answer) this.compare(text, answer);
  }

  private async open({ open, as, ticket, refused }: Any): Promise<void> {
    const url = `${this.server.url}/v1/ws${ticket ? `?ticket=${this.text(ticket)}` : ""}`;
    const ws = new this.server.WebSocket(url, ["ackwire.v1", ...(as ? [`ackwire.bearer.${this.text(as)}`] : [])]);
    const socket: Socket = { ws, frames: [], ended: undefined };
    let opened = false;
    ws.onopen = () => void (opened = true);
    ws.onmessage = ({ data }) => void socket.frames.push(data);
    ws.onclose = ({ code }) => void (socket.ended = code);
    this.sockets.set(open, socket);
    if (refused) {
      await this.until(() => socket.ended !== undefined);
      expect([opened, socket.ended]).toEqual([false, 1006]);
    } else await this.hear(socket, { type: "welcome" });
  }

  private async hear(socket: Socket, want: Any): Promise<void> {
    await this.until(() => socket.frames.length > 0 || socket.ended !== undefined);
    this.compare(socket.frames.shift()!, want);
  }

  private compare(text: string, want: Any): void {
    if (!this.matches(JSON.parse(text), want)) throw new Error(`it says ${text}`);
  }

  /** Compares a value with an expected one. */
  private matches(got: Any, want: Any): boolean {
    if (Array.isArray(want)) {
      return Array.isArray(got) && got.length === want.length && want.every((w, i) => this.matches(got[i], w));
    }
    if (typeof want === "object" && want !== null) {
      return typeof got === "object" && got !== null && Object.entries(want).every(([name, value]) =>
        (value === null) !== name in got && (value === null || this.matches(got[name], value)));
    }
    if (typeof want !== "string" || !/^\$\w*$/.test(want)) return got === (typeof want === "string" ? this.text(want) : want);
    const name = want.slice(1);
    if (name && !this.bound.has(name)) this.bound.set(name, got);
    return !name || this.bound.get(name) === got;
  }

  /** A text with what its variables stand for. */
  private text(text: string): string {
    return text.replace(/\$(\w+)/g, (_, name) => String(this.bound.get(name)));
  }

  /** A value with what its variables stand for. */
  private filled(value: Any): Any {
    if (Array.isArray(value)) return value.map((v) => this.filled(v));
    if (typeof value === "object" && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([name, v]) => [name, this.filled(v)]));
    }
    if (typeof value !== "string") return value;
    return /^\$\w+$/.test(value) ? this.bound.get(value.slice(1)) : this.text(value);
  }
}

beforeEach(() => void vi.useFakeTimers({ now: new Date("2026-01-02T03:04:05Z") }));
afterEach(() => void vi.useRealTimers());

test("there are scripts", () => expect(files.length).toBeGreaterThan(0));

for (const file of files) {
  describe(file.replace(".json", ""), () => {
    const { scripts } = JSON.parse(readFileSync(new URL(file, folder), "utf8")) as { scripts: Script[] };
    for (const script of scripts) {
      test(script.name, async () => {
        const run = new Run();
        for (const [i, step] of script.steps.entries()) {
          try {
            await run.step(step);
            await vi.advanceTimersByTimeAsync(0);
          } catch (error) {
            throw new Error(`step ${i + 1} ${JSON.stringify(step)}: ${error instanceof Error ? error.message : error}`, {
              cause: error,
            });
          }
        }
        run.server.stop();
        expect(vi.getTimerCount(), "timers that are left").toBe(0);
      });
    }
  });
}
