// The streams of the server in memory: what attempts write, and how a session tells it.

import { behind, byteLength } from "../bytes.js";
import { Refusal } from "./codes.js";
import type { Frame } from "./session.js";

const maxStreams = 8; // of a job
const maxPiece = 32_768; // bytes of an item or a text that is written at once, and about that of a chunk
const maxTotal = 8 << 20; // bytes of all streams of an attempt

/** A stream that a client follows, and what it has of it. */
export interface StreamRef {
  stream: string;
  run?: number;
  at?: number;
}

const invalid = (detail: string) => new Refusal("invalid_frame", detail);

const isName = (name: unknown): name is string => typeof name === "string" && /^[a-z0-9_-]{1,32}$/.test(name);

/** Reads the streams of a submit or of a subscribed job; undefined where it names none. */
export function readStreams(list: unknown): StreamRef[] | undefined {
  if (list === undefined || list === null) return undefined;
  if (!Array.isArray(list)) throw invalid("streams must be a list of names or of {stream, run?, at?}");
  if (list.length > maxStreams) throw invalid(`streams has more than ${maxStreams} entries`);
  const refs = list.map((entry: unknown): StreamRef => {
    const ref = typeof entry === "string" ? { stream: entry } : (entry as StreamRef | null);
    const { stream, run = 0, at = 0 } = ref ?? {};
    if (!isName(stream)) throw invalid("streams has an entry that does not name a stream");
    if (!Number.isSafeInteger(run) || run < 0 || !Number.isSafeInteger(at) || at < 0 || (run === 0 && at > 0)) {
      throw invalid(`streams has a run or at of ${stream} that is no cursor`);
    }
    return { stream, run, at };
  });
  const twice = refs.find(({ stream }, i) => refs.findIndex((other) => other.stream === stream) < i);
  if (twice) throw invalid(`streams has ${twice.stream} twice`);
  return refs;
}

/** One stream of a run. */
export class Stream {
  total = 0; // bytes of text, or items
  bytes = 0;
  text = "";
  readonly items: unknown[] = [];

  constructor(readonly kind: "text" | "json") {}
}

/** The streams of a run, as the attempt writes them: the stream of a name. */
export function openStream(streams: Map<string, Stream>, name: string, kind: "text" | "json"): Stream {
  if (!isName(name)) throw new TypeError(`${JSON.stringify(name)} is not the name of a stream`);
  const had = streams.get(name);
  if (!had && streams.size >= maxStreams) throw new TypeError(`a job has at most ${maxStreams} streams`);
  if (kind === "text" && (name === "log" || had?.kind === "json")) throw new TypeError(`the stream ${name} has items`);
  if (kind === "json" && had?.kind === "text") throw new TypeError(`the stream ${name} has text`);
  const stream = had ?? new Stream(kind);
  streams.set(name, stream);
  return stream;
}

/** Writes a text, or an item, within the bounds that a real server has by default. */
export function write(streams: Map<string, Stream>, stream: Stream, what: { text: string } | { item: unknown }): void {
  const bytes = byteLength("text" in what ? what.text : JSON.stringify(what.item) ?? "");
  const all = Array.from(streams.values()).reduce((sum, other) => sum + other.bytes, bytes);
  if (all > maxTotal) throw new RangeError("stream_too_large: the streams of a job have at most 8 MiB");
  if ("item" in what && bytes > maxPiece) throw new RangeError("stream_too_large: an item has at most 32 KiB");
  stream.bytes += bytes;
  if ("text" in what) {
    stream.text += new TextDecoder().decode(new TextEncoder().encode(what.text)); // halves of characters are replaced
    stream.total += bytes;
  } else {
    stream.items.push(JSON.parse(JSON.stringify(what.item)));
    stream.total++;
  }
}

/** The place of a session in one stream. */
export class Place {
  #run: number;
  #at: number;
  #index: number | undefined = 0; // of the same place in the text; undefined: it is to be found

  constructor(readonly name: string, { run = 0, at = 0 }: StreamRef) {
    this.#run = run;
    this.#at = at;
    if (at > 0) this.#index = undefined;
  }

  /**
   * The frames that bring it up to what a run has written. `over` says that the job has ended; then the last one says
   * that the stream has, and nothing follows.
   */
  frames(jobId: string, run: number, stream: Stream | undefined, over: boolean): Frame[] {
    const frames: Frame[] = [];
    const reset = this.#run > 0 && this.#run !== run;
    if (this.#run !== run) this.#at = this.#index = 0;
    this.#run = run;
    const of = { type: "chunk", jobId, stream: this.name };
    let first = true;
    for (;;) {
      const from = this.#at;
      const piece = stream ? this.#next(stream) : {};
      const end = over && this.#at >= (stream?.total ?? 0);
      if (from === this.#at && !end && !(reset && first)) return frames;
      frames.push({
        ...of, ...(stream && { kind: stream.kind }), run, from, ...piece, ...(reset && first && { reset }),
        ...(end && { end, total: stream?.total ?? 0 }),
      });
      if (end) return frames;
      first = false;
    }
  }

  #next(stream: Stream): { text?: string; items?: unknown[] } {
    if (this.#at >= stream.total) return {};
    if (stream.kind === "text") {
      if (this.#index === undefined) {
        const rest = behind(stream.text, this.#at);
        if (rest === undefined) throw invalid(`at is within a character of ${this.name}`);
        this.#index = stream.text.length - rest.length;
      }
      const text = stream.text.slice(this.#index, this.#index + maxPiece / 4).replace(/[\ud800-\udbff]$/, "");
      this.#index += text.length;
      this.#at += byteLength(text);
      return { text };
    }
    const items: unknown[] = [];
    for (let size = 0; size < maxPiece && this.#at < stream.total; this.#at++) {
      items.push(stream.items[this.#at]);
      size += JSON.stringify(items.at(-1)).length;
    }
    return { items };
  }
}
