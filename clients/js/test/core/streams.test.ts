// Streams: what a reader gets is an exact continuation of its cursor, whatever the server and the network do.

import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { behind, byteLength } from "../../src/bytes.js";
import type { StreamChunk } from "../../src/index.js";
import { type Any, type FakeSession, fakeTime, outcomeOf, pass, read, settle, world } from "./fake.js";

fakeTime(0.5);

const bytes = (text: string) => new TextEncoder().encode(text).length;

/** Says a chunk of a text. */
const chunk = (s: FakeSession, from: number, text: string, members: object = {}) =>
  s.say({ type: "chunk", jobId: "j1", stream: "tokens", kind: "text", run: 1, from, text, ...members });

/** Takes the frames that follow streams, and answers them; returns their streams. */
function asked(s: FakeSession): Any[] {
  const all: Any[] = [];
  for (const frame of s.sent.splice(0)) {
    if (frame.type !== "subscribe") continue;
    for (const { streams } of frame.jobs) if (streams) all.push(streams);
    s.say({ type: "subscribed", id: frame.id, jobs: frame.jobs.map(({ jobId }: Any) => ({ jobId, version: 1 })) });
  }
  return all;
}

/** A client that follows the stream tokens of j1, and what it has read. */
async function following(options: object = {}) {
  const w = world({ welcome: true });
  const got = read<Any>(w.client.job("j1").stream("tokens", options));
  await settle();
  return { ...w, got };
}

describe("places in a text", () => {
  const texts = fc.string({ unit: "binary", maxLength: 50 });

  test("are bytes of UTF-8", () => {
    fc.assert(fc.property(texts, (text) => {
      expect(byteLength(text)).toBe(bytes(text));
    }));
  });

  test("cut it between its characters, and never within one", () => {
    fc.assert(fc.property(texts, texts, (a, b) => {
      expect(behind(a + b, bytes(a))).toBe(b);
      const [first] = b;
      if (first && bytes(first) > 1) expect(behind(a + b, bytes(a) + 1)).toBe(undefined);
    }));
  });
});

describe("one reader", () => {
  test("the pieces in order, what came before is dropped, the end ends it", async () => {
    const w = await following();
    const s = w.server.last;
    expect(asked(s)).toEqual([["tokens"]]);
    chunk(s, 0, "Grüß ");
    chunk(s, 0, "Grüß ");
    chunk(s, 4, "ß Gott 👋"); // "Grü" has 4 bytes
    chunk(s, 2, "üß Gott 👋!", { end: true, total: 17 });
    await settle();
    expect(w.got.values.join("")).toBe("Grüß Gott 👋!");
    expect(w.got).toMatchObject({ done: true });
    expect(w.got.error).toBe(undefined);
    await settle();
    expect(s.sent.map(({ type }) => type)).toEqual(["unsubscribe"]); // nobody watches the job any more
  });

  test("items, whatever their values are", async () => {
    const w = world({ welcome: true });
    const got = read(w.client.job("j1").stream<Any>("rows"));
    await settle();
    const s = w.server.last;
    asked(s);
    const say = (from: number, items: Any[], members = {}) =>
      s.say({ type: "chunk", jobId: "j1", stream: "rows", kind: "json", run: 1, from, items, ...members });
    say(0, [1, "a", null]);
    say(1, ["a", null, { b: [] }], { end: true, total: 4 });
    await settle();
    expect(got).toEqual({ values: [1, "a", null, { b: [] }], done: true });
  });

  test("a gap is asked for again, once, from the cursor on", async () => {
    const w = await following();
    const s = w.server.last;
    asked(s);
    chunk(s, 0, "ab");
    chunk(s, 5, "fg");
    chunk(s, 7, "hi");
    await pass(200);
    expect(asked(s)).toEqual([[{ stream: "tokens", run: 1, at: 2 }]]);
    chunk(s, 2, "cdefghi", { end: true, total: 9 });
    await settle();
    expect(w.got.values.join("")).toBe("abcdefghi");
  });

  test("an end that comes before the whole is a gap", async () => {
    const w = await following();
    const s = w.server.last;
    asked(s);
    chunk(s, 0, "ab", { end: true, total: 4 });
    await pass(200);
    expect(w.got.done).toBe(false);
    expect(asked(s)).toEqual([[{ stream: "tokens", run: 1, at: 2 }]]);
    chunk(s, 2, "cd", { end: true, total: 4 });
    await settle();
    expect(w.got).toMatchObject({ values: ["ab", "cd"], done: true });
  });

  test("a new session goes on at the cursor, and what an old one still says counts no more", async () => {
    const w = await following();
    const old = w.server.last;
    asked(old);
    chunk(old, 0, "äb");
    old.say({ type: "goaway", reconnectAfter: 0 });
    await pass(100);
    const s = w.server.last;
    expect(s).not.toBe(old);
    expect(asked(s)).toEqual([[{ stream: "tokens", run: 1, at: 3 }]]);
    chunk(old, 3, "XX");
    chunk(s, 3, "c", { end: true, total: 4 });
    await settle();
    expect(w.got.values.join("")).toBe("äbc");
  });

  test("it begins behind what its user has, and the chunks say their places", async () => {
    const w = world({ welcome: true });
    const got = read(w.client.job("j1").stream("tokens", { chunks: true, after: { run: 1, at: 3 } }));
    await settle();
    const s = w.server.last;
    expect(asked(s)).toEqual([[{ stream: "tokens", run: 1, at: 3 }]]);
    chunk(s, 3, "ä");
    await settle();
    chunk(s, 0, "", { run: 2, reset: true });
    await settle();
    chunk(s, 0, "é!", { run: 2, end: true, total: 3 });
    await settle();
    expect(got.values).toEqual([
      { kind: "text", run: 1, from: 3, at: 5, text: "ä" },
      { kind: "text", run: 2, from: 0, at: 0, reset: true },
      { kind: "text", run: 2, from: 0, at: 3, text: "é!" },
    ] satisfies StreamChunk[]);
  });

  test("a name or a cursor that is none, and a ninth stream, are errors", async () => {
    const w = world({ welcome: true });
    const job = w.client.job("j1");
    const error = async (name: string, options?: object) => {
      const next = outcomeOf(job.stream(name, options).next());
      await settle();
      return next.error?.code;
    };
    expect(await error("Tokens")).toBe("invalid_frame");
    expect(await error("")).toBe("invalid_frame");
    expect(await error("t", { after: { run: 0, at: 0 } })).toBe("invalid_offset");
    for (let i = 0; i < 8; i++) read(job.stream(`s${i}`));
    await settle();
    expect(await error("s8")).toBe("limit_exceeded");
    expect(await error("s8")).toBe("limit_exceeded");
  });
});

describe("a run that was lost", () => {
  test("without onReset the iterator ends, for what was read is void", async () => {
    const w = await following();
    const s = w.server.last;
    asked(s);
    chunk(s, 0, "ab");
    await settle();
    chunk(s, 0, "A", { run: 2, reset: true });
    await settle();
    expect(w.got.values).toEqual(["ab"]);
    expect(w.got.error).toMatchObject({ code: "stream_reset" });
  });

  test("of which nothing was read is nothing to tell", async () => {
    const w = world({ welcome: true });
    const stream = w.client.job("j1").stream("tokens");
    const first = outcomeOf(stream.next());
    await settle();
    const s = w.server.last;
    asked(s);
    chunk(s, 0, "a");
    await settle();
    expect(first.value).toEqual({ value: "a", done: false });
    const other = outcomeOf(w.client.job("j1").stream("tokens", { after: { run: 1, at: 1 } }).next());
    const late = w.client.job("j1").stream("tokens");
    const next = outcomeOf(late.next());
    await settle();
    asked(s);
    chunk(s, 0, "A", { run: 2, reset: true });
    await settle();
    expect(next.value).toEqual({ value: "A", done: false });
    expect(other.error).toMatchObject({ code: "stream_reset" });
    expect(await stream.next().catch((error) => error.code)).toBe("stream_reset");
  });

  test("onReset is told before the first piece of the new run, also where only the run tells it", async () => {
    const text: string[] = [];
    const w = world({ welcome: true });
    const done = (async () => {
      for await (const piece of w.client.job("j1").stream("tokens", { onReset: (run) => text.push(`<${run}>`) })) {
        text.push(piece);
      }
    })();
    await settle();
    const s = w.server.last;
    asked(s);
    chunk(s, 0, "ab");
    await settle();
    chunk(s, 0, "c", { run: 3 }); // its reset was lost
    chunk(s, 2, "x", { run: 1 }); // of a run that counts no more
    chunk(s, 0, "d", { run: 2, reset: true }); // the server's log was restored: it says that a lower one counts
    chunk(s, 1, "e", { run: 2, end: true, total: 2 });
    await done;
    expect(text).toEqual(["ab", "<3>", "c", "<2>", "de"]);
  });
});

describe("a slow reader", () => {
  const piece = "x".repeat(60_000);

  test("is not followed while it has too much, and goes on at its cursor when it has read that", async () => {
    const w = world({ welcome: true });
    const stream = w.client.job("j1").stream("tokens");
    const first = stream.next();
    await settle();
    const s = w.server.last;
    asked(s);
    for (let i = 0; i < 20; i++) chunk(s, i * piece.length, piece);
    expect((await first).value).toBe(piece);
    await settle();
    expect(s.sent.map(({ type, jobs }) => jobs?.[0].streams ?? type)).toEqual([[], "unsubscribe"]);
    s.sent.splice(0);
    const second = (await stream.next()).value!;
    expect(second.length).toBe(5 * piece.length); // no more than the bound and one piece
    await settle();
    expect(asked(s)).toEqual([[{ stream: "tokens", run: 1, at: 6 * piece.length }]]);
    chunk(s, 6 * piece.length, "end", { end: true, total: 6 * piece.length + 3 });
    expect((await stream.next()).value).toBe("end");
    expect((await stream.next()).done).toBe(true);
  });

  test("does not hold up another reader of the same stream", async () => {
    const w = world({ welcome: true });
    const job = w.client.job("j1");
    const slow = job.stream("tokens");
    await Promise.race([slow.next(), settle()]);
    const fast = read(job.stream("tokens"));
    await settle();
    const s = w.server.last;
    asked(s);
    let all = "";
    for (let i = 0; i < 20; i++) {
      const text = `${i}`.padEnd(30_000, "é");
      chunk(s, bytes(all), text);
      all += text;
      await settle();
    }
    expect(fast.values.join("")).toBe(all);
    const more = outcomeOf(slow.next());
    await settle();
    expect(more.done).toBe(true);
    const at = bytes(all.slice(0, 30_000)) + bytes((more.value as Any).value);
    const lists = asked(s);
    expect(lists.at(-1)).toEqual([{ stream: "tokens", run: 1, at }]);
    expect(at).toBeLessThan(bytes(all));
    chunk(s, bytes(all), "?"); // of the former place, while it is asked for
    await settle();
    expect(fast.values.join("")).toBe(`${all}?`);
  });
});

describe("ends", () => {
  test("break and abort stop following; a job that is watched stays watched", async () => {
    const w = world({ welcome: true });
    const watch = read(w.client.watch("j1"));
    const abort = new AbortController();
    const got = read(w.client.job("j1").stream("tokens", { signal: abort.signal }));
    const loop = (async () => {
      for await (const line of w.client.job("j1").stream("log")) return line;
      return undefined;
    })();
    await settle();
    const s = w.server.last;
    expect(asked(s).at(-1)).toEqual(["tokens", "log"]);
    s.say({ type: "chunk", jobId: "j1", stream: "log", kind: "json", run: 1, from: 0, items: [{ message: "hi" }] });
    expect(await loop).toEqual({ message: "hi" });
    await settle();
    expect(asked(s)).toEqual([["tokens"]]);
    abort.abort(new Error("enough"));
    await settle();
    expect(got.error).toMatchObject({ message: "enough" });
    expect(s.sent.map(({ type }) => type)).toEqual(["subscribe"]);
    expect(asked(s)).toEqual([[]]);
    expect(watch.done).toBe(false);
  });

  test("an error ends the readers of its stream, and one that may pass is waited out", async () => {
    const w = world({ welcome: true });
    const a = read(w.client.job("j1").stream("tokens"));
    const b = read(w.client.job("j1").stream("rows"));
    await settle();
    const s = w.server.last;
    asked(s);
    s.say({ type: "chunk", jobId: "j1", stream: "rows", run: 1, from: 0, error: "stream_gone" });
    s.say({ type: "chunk", jobId: "j1", stream: "tokens", run: 1, from: 0, error: "unavailable" });
    await settle();
    expect(b.error).toMatchObject({ code: "stream_gone", retryable: false });
    await pass(1000);
    expect(asked(s)).toEqual([["tokens"]]);
    expect(a.done).toBe(false);
    await w.client.close();
    await settle();
    expect(a.error).toMatchObject({ code: "closed" });
  });

  test("a job that is not found ends its readers, also when it had ended before", async () => {
    const w = await following();
    const s = w.server.last;
    const streams = s.sent.splice(0).find(({ jobs }) => jobs[0].streams);
    s.status("j1", 5, "completed");
    s.say({ type: "subscribed", id: streams.id, jobs: [{ jobId: "j1", error: "not_found" }] });
    await settle();
    expect(w.got.error).toMatchObject({ code: "not_found" });
    await pass(60_000);
    expect(s.sent).toEqual([]);
  });

  test("a frame that makes no sense is counted, and harms none", async () => {
    const w = await following();
    const s = w.server.last;
    asked(s);
    const bad = [
      { run: -1 }, { from: 0.5 }, { text: 1 }, { jobId: 1 }, { stream: null }, { total: "x" },
      { kind: "json", text: undefined, items: {} }, { kind: "json" }, { kind: undefined },
      { kind: "text", text: undefined, items: [] },
    ];
    for (const members of bad) chunk(s, 0, "no", members);
    await settle();
    expect(w.client.connection.snapshot().badFrames).toBe(bad.length);
    chunk(s, 0, "yes", { end: true, total: 3 });
    await settle();
    expect(w.got).toMatchObject({ values: ["yes"], done: true });
  });
});

test("500 loops that broke, and a client that was closed, leave no timer and nothing to ask for", async () => {
  const w = world({ welcome: true });
  const job = w.client.job("j1");
  for (let i = 0; i < 500; i++) {
    const stream = job.stream("tokens");
    const next = stream.next();
    await settle();
    asked(w.server.last);
    chunk(w.server.last, 0, "a");
    expect((await next).value).toBe("a");
    await stream.return!();
  }
  await settle();
  expect(asked(w.server.last)).toEqual([[]]);
  w.server.last.end();
  await pass(60_000);
  expect(w.server.sessions).toHaveLength(1); // nothing is followed: no other session is needed
  await w.client.close();
  expect(vi.getTimerCount()).toBe(0);
});

describe("with the submit", () => {
  async function submitted(members: object = {}) {
    const w = world({ welcome: true });
    const submit = w.client.submit("chat", 1, { streams: ["tokens", "log"] });
    await settle();
    const s = w.server.last;
    const frame = s.take("submit");
    expect(frame.streams).toEqual(["tokens", "log"]);
    s.ack(frame.id, "j1", members);
    return { ...w, s, submit };
  }

  test("what comes at once behind the ack is kept for the first reader, and nothing is asked for", async () => {
    const { s, submit, client } = await submitted();
    chunk(s, 0, "a");
    chunk(s, 1, "b");
    const job = await submit;
    await settle();
    const got = read(job.stream("tokens"));
    await settle();
    chunk(s, 2, "c", { end: true, total: 3 });
    await settle();
    expect(got).toMatchObject({ values: ["ab", "c"], done: true });
    expect(s.sent).toEqual([]);
    s.status("j1", 9, "completed");
    s.say({ type: "chunk", jobId: "j1", stream: "log", run: 1, from: 0, end: true });
    await settle();
    expect(s.sent).toEqual([]);
    const again = read(client.job("j1").stream("tokens"));
    await settle();
    expect(asked(s)).toEqual([["tokens"]]);
    chunk(s, 0, "abc", { end: true, total: 3 });
    await settle();
    expect(again.values).toEqual(["abc"]);
  });

  test("what nobody reads is bounded, is not asked for in another session, and is not lost", async () => {
    const { s, submit, server } = await submitted();
    const job = await submit;
    const piece = "x".repeat(60_000);
    for (let i = 0; i < 9; i++) chunk(s, i * piece.length, piece);
    await settle();
    expect(asked(s)).toEqual([["log"]]);
    s.end();
    await pass(1000);
    job.subscribe(() => {});
    await settle();
    expect(asked(server.last)).toEqual([]);
    const got = read(job.stream("tokens"));
    await settle();
    expect(got.values.join("").length).toBe(5 * piece.length);
    expect(asked(server.last)).toEqual([[{ stream: "tokens", run: 1, at: 5 * piece.length }]]);
  });

  test("of a job that is there already they are asked for", async () => {
    const { s, submit } = await submitted({ duplicate: true });
    await submit;
    await settle();
    expect(asked(s)).toEqual([["tokens", "log"]]);
  });
});

describe("any server and any network", () => {
  /** Numbers from a seed. */
  function numbers(seed: number) {
    let state = seed;
    return (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
  }

  const alphabet = ["a", "ß", "€", "👋", "\n", "\u0000", "\uffff"];

  test("what is read is exactly what the run that counts has written", { timeout: 120_000 }, async () => {
    await fc.assert(fc.asyncProperty(fc.nat(), async (seed) => {
      const draw = numbers(seed);
      const w = world({ welcome: true });
      let have = "";
      let resets = 0;
      const stream = w.client.job("j1").stream("tokens", { onReset: () => {
        have = "";
        resets++;
      } });
      let next = outcomeOf(stream.next());
      const take = async () => {
        await settle();
        for (; next.done && !next.error && !next.value!.done; await settle()) {
          have += next.value!.value;
          next = outcomeOf(stream.next());
        }
        expect(next.error).toBe(undefined);
      };
      let run = 1;
      let text: string[] = [];
      let at = 0; // characters that the server has sent to this session
      const index = (bytesBefore: number) => {
        let i = 0;
        for (let sum = 0; sum < bytesBefore; i++) sum += bytes(text[i]!);
        return i;
      };
      let followed = false;
      await settle();
      const serve = () => {
        for (const [ref] of asked(w.server.last)) {
          followed = ref !== undefined;
          if (!followed) continue;
          const same = typeof ref === "object" && ref.run === run;
          at = same ? index(ref.at) : 0;
          if (typeof ref === "object" && !same) chunk(w.server.last, 0, "", { run, reset: true });
        }
      };
      for (let step = 0; step < 60; step++) {
        await settle();
        serve();
        const s = w.server.last;
        switch (draw(12)) {
          case 0:
            s.end();
            followed = false;
            await pass(20_000);
            break;
          case 1:
            run++;
            text = [];
            at = 0;
            if (followed && draw(2)) chunk(s, 0, "", { run, reset: true });
            break;
          case 2:
            if (draw(2)) await take();
            break;
          case 3:
            if (followed) at = Math.min(text.length, at + draw(5)); // it loses some, as no server should
            break;
          default: {
            for (let n = draw(8); n > 0; n--) text.push(alphabet[draw(alphabet.length)]!);
            if (!followed) break;
            const from = Math.max(0, at - draw(4));
            const to = Math.min(text.length, from + 1 + draw(9));
            chunk(s, bytes(text.slice(0, from).join("")), text.slice(from, to).join(""), { run });
            at = Math.max(at, to);
          }
        }
      }
      const whole = text.join("");
      for (let i = 0; i < 20 && !(next.done && next.value?.done); i++) {
        await pass(20_000);
        serve();
        if (followed) {
          const rest = text.slice(at).join("");
          chunk(w.server.last, bytes(text.slice(0, at).join("")), rest, { run, end: true, total: bytes(whole) });
        }
        await take();
      }
      expect(next.value).toEqual({ value: undefined, done: true });
      expect(have).toBe(whole);
      expect(resets).toBeLessThan(run);
      await w.client.close();
    }), { numRuns: 100 });
  });
});
