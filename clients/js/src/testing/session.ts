// A session of the server in memory: it answers the frames of ackwire.v1.

import type { ErrorCode } from "../codes_gen.js";
import { AckwireError, type Problem } from "../errors.js";
import type { SessionEvents } from "../types.js";
import { anyone, type Identity } from "./access.js";
import { Batch } from "./batch.js";
import { checkMineAlone, checkTypes, readIDs, readRefs, type Ref } from "./checks.js";
import { codes, problem, Refusal } from "./codes.js";
import type { Engine } from "./engine.js";
import { toJSON } from "./json.js";
import { readFilter, WatchedLists } from "./lists.js";
import { type Ack, type JobRecord, type Submit, terminal } from "./record.js";
import { Place, readStreams, type StreamRef } from "./streams.js";

/** A frame, as it was parsed from its text. */
export interface Frame {
  type: string;
  id?: string | undefined;
  [member: string]: unknown;
}

const maxBroken = 64; // frames, before the session is closed with protocol_error
const authTimeout = 10_000; // milliseconds

const unreadable = "(unreadable)";

/** A frame of a text; one that is none has the type "(unreadable)", and the text. */
function read(text: string): Frame {
  try {
    const frame = JSON.parse(text) as Frame | null;
    if (typeof frame === "object" && typeof frame?.type === "string") return frame;
  } catch {
    // It is told below.
  }
  return { type: unreadable, text };
}

/** Calls its functions later and in order, however long each takes. */
class Pipe {
  readonly #engine: Engine;
  readonly #waiting: (() => void)[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  put(delay: number, run: () => void): void {
    this.#waiting.push(run);
    this.#engine.after(delay, () => this.#waiting.shift()?.());
  }

  clear(): void {
    this.#waiting.length = 0;
  }
}

export class ServerSession {
  readonly name: string;
  /** Who the client is; anyone, until it has said. */
  who: Identity = anyone;
  token: string | undefined;
  readonly sent: Frame[] = [];
  readonly received: Frame[] = [];
  /** How the session ended; undefined while it has not. */
  ended: { code: number; reason: string; by: "client" | "server" } | undefined;
  /** Neither hears nor says anything any more. */
  stalled = false;

  readonly #engine: Engine;
  readonly #events: SessionEvents;
  readonly #in: Pipe;
  readonly #out: Pipe;
  readonly #watched = new Set<string>();
  /** The streams that the client follows, by the IDs of their jobs. */
  readonly #places = new Map<string, Set<Place>>();
  readonly #lists = new WatchedLists((frame) => this.send(frame));
  #mine = false;
  /** The last version that was sent of a job. */
  readonly #told = new Map<string, number>();
  #known = false;
  #broken = 0;
  #inFlight = 0;
  #stopAuth: (() => void) | undefined;
  #stopExpiry: (() => void) | undefined;

  constructor(engine: Engine, token: string | undefined, events: SessionEvents) {
    this.#engine = engine;
    this.#events = events;
    this.#in = new Pipe(engine);
    this.#out = new Pipe(engine);
    this.token = token;
    this.name = `testing-${++engine.made}`;
    engine.history.push(this);
    this.#open(token);
  }

  #open(token: string | undefined): void {
    const engine = this.#engine;
    if (engine.down) {
      this.#end(1006, "", "server");
      return;
    }
    const who = engine.identify(token);
    let refused = engine.refusal("session")?.problem;
    if (!who && token !== undefined) refused ??= problem("unauthenticated", "a valid token is needed");
    if (refused) {
      this.#end(1006, "", "server", asHTTP(refused));
      return;
    }
    engine.sessions.add(this);
    if (who) {
      this.#identify(who);
      this.#welcome(undefined);
      return;
    }
    this.#stopAuth = engine.after(authTimeout, () => this.close(4501, "auth_timeout"));
  }

  get subject(): string {
    return this.who.subject;
  }

  #identify(who: Identity): void {
    this.who = who;
    this.#known = true;
    this.#stopAuth?.();
    this.#stopExpiry?.();
    const { left } = who;
    if (left) this.#stopExpiry = this.#engine.after(left.warning, () => this.expiring((left.end - left.warning) / 1000));
  }

  #welcome(id: string | undefined): void {
    const { pingInterval, limits } = this.#engine;
    this.send({ type: "welcome", id, connection: this.name, protocol: "ackwire.v1", pingInterval, limits });
  }

  /** Takes a frame that the client sends. */
  receive(text: string): void {
    this.#in.put(0, () => {
      if (!this.ended && !this.stalled) this.#handle(text);
    });
  }

  /** Sends a frame, or any text. */
  send(frame: Frame | string): void {
    if (this.ended || this.stalled) return;
    const text = typeof frame === "string" ? frame : JSON.stringify(frame);
    this.sent.push(read(text));
    this.#out.put(this.#engine.delay, () => this.#events.frame(text));
  }

  /** Closes the session behind what was sent. */
  close(code: number, reason = ""): void {
    this.#end(code, reason, "server");
  }

  /** Ends the session without a word; what was sent and has not arrived is lost. */
  cut(): void {
    if (this.ended) return;
    this.#out.clear();
    this.#end(1006, "", "server");
  }

  /** Is told that the client has ended the session. */
  leave(code: number, reason: string): void {
    if (this.ended) return;
    this.#out.clear();
    this.#end(code, reason, "client");
  }

  #end(code: number, reason: string, by: "client" | "server", error?: AckwireError): void {
    if (this.ended) return;
    this.ended = { code, reason, by };
    this.#in.clear();
    this.#stopAuth?.();
    this.#stopExpiry?.();
    this.#engine.sessions.delete(this);
    const delay = by === "client" || code === 1006 && !error ? 0 : this.#engine.delay;
    this.#out.put(delay, () => this.#events.closed(code, reason, error));
  }

  /** Warns that the token ends, and closes with token_expired unless it is renewed. */
  expiring(closesAfter: number): void {
    this.send({ type: "expiring", expiresAt: new Date(Date.now() + closesAfter * 1000).toISOString(), closesAfter });
    this.#stopExpiry?.();
    this.#stopExpiry = this.#engine.after(closesAfter * 1000, () => this.close(4002, "token_expired"));
  }

  /** Tells a job's document, once per version, if the client watches the job. */
  tell(record: JobRecord): void {
    const { jobId, state } = record.doc;
    this.#lists.tell(record, this.subject, this.who.sees(record));
    const mine = this.#mine && record.subject === this.subject;
    if ((!mine && !this.#watched.has(jobId)) || (this.#told.get(jobId) ?? 0) >= record.version) return;
    this.#status(record, mine);
    if (mine) this.#cursor();
    if (terminal(state)) this.#watched.delete(jobId);
  }

  /** Follows streams of a job, in place of those that it follows. */
  #follow(jobId: string, refs: StreamRef[] | undefined): void {
    if (refs) this.#places.set(jobId, new Set(refs.map((ref) => new Place(ref.stream, ref))));
  }

  /** Tells what is new of the streams of a job, if the client follows them. */
  pour({ doc: { jobId, state }, dispatch, streams }: JobRecord): void {
    const places = this.#places.get(jobId);
    for (const place of places ?? []) {
      const frames = place.frames(jobId, dispatch, streams.get(place.name), terminal(state));
      for (const frame of frames) this.send(toJSON(frame));
      if (frames.at(-1)?.["end"]) places!.delete(place);
    }
  }

  #status(record: JobRecord, mine: boolean): void {
    this.#told.set(record.doc.jobId, record.version);
    this.send(`{"type":"status","version":${record.version},${mine ? '"mine":true,' : ""}"job":${record.text}}`);
  }

  #cursor(): void {
    const { epoch, version } = this.#engine;
    this.send({ type: "cursor", cursor: `${epoch}.${version}` });
  }

  /** Says that the versions which were told are not in the log, and tells the jobs anew. */
  reset(): void {
    this.#told.clear();
    const records = this.#engine.order.filter((record) => this.#watched.has(record.doc.jobId));
    if (records.length > 0) {
      const jobs = records.map((record) => ({ jobId: record.doc.jobId, version: record.version, reset: true }));
      this.send({ type: "subscribed", jobs });
    }
    if (this.#mine) this.send({ type: "subscribed", jobs: [], mine: true, reset: true });
    for (const record of records) this.tell(record);
    this.listAgain();
  }

  #handle(text: string): void {
    if (new TextEncoder().encode(text).length > this.#engine.limits.frameBytes) {
      this.close(1009, "message_too_big");
      return;
    }
    const frame = read(text);
    this.received.push(frame);
    const id = typeof frame.id === "string" ? frame.id : undefined;
    try {
      if (frame.type === unreadable) throw new Refusal("invalid_frame", "the frame cannot be read");
      this.#dispatch(frame, id);
    } catch (err) {
      this.#fail(id, err);
      this.#afterFailure(frame.type, err);
    }
  }

  #fail(id: string | undefined, err: unknown): void {
    const refused = err instanceof Refusal ? err.problem : problem("internal", String(err));
    this.send({ type: "error", id, ...refused });
  }

  #afterFailure(type: string, err: unknown): void {
    const code = err instanceof Refusal ? (err.problem.code as ErrorCode) : "internal";
    if ((code === "invalid_frame" || code === "unknown_frame") && ++this.#broken >= maxBroken) {
      this.close(4502, "protocol_error");
    }
    if (code !== "unauthenticated") return;
    if (type === "auth") this.close(4500, "unauthenticated");
    else this.close(4502, "protocol_error");
  }

  #dispatch(frame: Frame, id: string | undefined): void {
    checkTypes(frame);
    if (frame.type === "auth") {
      this.#auth(frame, id);
      return;
    }
    if (!this.#known) throw new Refusal("unauthenticated", "the first frame must be auth");
    switch (frame.type) {
      case "ping":
        this.send({ type: "pong", id });
        break;
      case "submit":
        this.#submit(frame, id);
        break;
      case "submitBatch":
        this.#submitBatch(frame, id);
        break;
      case "cancel":
      case "retry":
        this.#order(frame.type, frame, id);
        break;
      case "subscribe":
        this.who.check("read");
        if (frame["mine"] === true) this.#subscribeMine(frame, id);
        else this.#subscribe(frame, id);
        break;
      case "unsubscribe":
        this.#unsubscribe(frame, id);
        break;
      case "watchList":
      case "unwatchList":
        this.#list(frame, id);
        break;
      default:
        throw new Refusal("unknown_frame", `${JSON.stringify(frame.type)} is not a frame type`);
    }
  }

  #list(frame: Frame, id: string | undefined): void {
    this.who.check("read");
    const list = frame["list"];
    if (typeof list !== "string" || !list || list.length > 64) throw new Refusal("invalid_frame", "list is missing or too long");
    if (frame.type === "unwatchList") {
      this.#lists.unwatch(list);
      this.send({ type: "listUnwatched", id, list });
      return;
    }
    const query = readFilter(frame["filter"]);
    if (!this.who.mayFollowAll) throw new Refusal("forbidden", "a grant follows its jobs one by one");
    const records = this.#engine.order.filter((record) => this.who.sees(record));
    this.#lists.watch(list, query, this.subject, records);
    this.send({ type: "listWatched", id, list });
  }

  /** Tells lists that a job was removed. */
  removed(record: JobRecord): void {
    this.#lists.removed(record);
  }

  /** Has the client ask for its lists again. */
  listAgain(): void {
    this.#lists.again();
  }

  #auth(frame: Frame, id: string | undefined): void {
    const token = frame["token"];
    if (typeof token !== "string" || token === "") throw new Refusal("invalid_frame", "token is missing");
    const refused = this.#engine.refusal("auth");
    if (refused) throw refused;
    const who = this.#engine.identify(token);
    if (!who) throw new Refusal("unauthenticated", "the token was refused");
    if (this.#known && who.subject !== this.subject) throw new Refusal("forbidden", "the token is another subject's");
    this.token = token;
    this.#identify(who);
    this.#welcome(id);
    this.#renewed();
  }

  /** Ends those watches that the client's new token or grant does not cover, and says which. */
  #renewed(): void {
    if (this.#mine && !this.who.mayFollowAll) {
      this.#mine = false;
      this.send({ type: "unsubscribed", jobs: [], mine: true, error: "forbidden" });
    }
    if (!this.who.may("read") || !this.who.mayFollowAll) {
      for (const list of this.#lists.end()) this.send({ type: "listUnwatched", list, error: "forbidden" });
    }
    const jobs: { jobId: string; error: ErrorCode }[] = [];
    for (const jobId of [...this.#watched].sort()) {
      const record = this.#engine.records.get(jobId);
      if (!this.who.may("read")) jobs.push({ jobId, error: "forbidden" });
      else if (!record || !this.who.sees(record)) jobs.push({ jobId, error: "not_found" });
    }
    for (const { jobId } of jobs) this.#unwatch(jobId);
    if (jobs.length > 0) this.send({ type: "subscribed", jobs });
  }

  #submit(frame: Frame, id: string | undefined): void {
    const engine = this.#engine;
    const { who } = this;
    who.check("submit");
    const watches = who.watches(frame["watch"]);
    if (this.#inFlight >= engine.limits.inFlightSubmits) {
      throw new Refusal("limit_exceeded", `${this.#inFlight} submits are in flight`);
    }
    if (watches) this.#checkRoom();
    const refused = engine.refusal("submit");
    if (!(engine.ackDelay > 0)) {
      if (refused) throw refused;
      this.#accept(frame, id, who, watches);
      return;
    }
    this.#inFlight++;
    engine.after(engine.ackDelay, () => {
      this.#inFlight--;
      try {
        if (refused) throw refused;
        this.#accept(frame, id, who, watches);
      } catch (err) {
        this.#fail(id, err);
      }
    });
  }

  /** Submits a batch. Watches that have no room are refused with their jobs. */
  #submitBatch(frame: Frame, id: string | undefined): void {
    const engine = this.#engine;
    const { who } = this;
    who.check("submit");
    if (this.#inFlight >= engine.limits.inFlightSubmits) {
      throw new Refusal("limit_exceeded", `${this.#inFlight} submits are in flight`);
    }
    const batch = new Batch(engine, frame["jobs"]);
    const answer = () => {
      let free = engine.limits.subscriptions - this.#watched.size - Number(this.#mine);
      const watched = batch.submit(who, ({ watch }) => {
        const watches = who.watches(watch);
        if (watches && free-- <= 0) throw new Refusal("limit_exceeded", `${engine.limits.subscriptions} jobs are watched`);
        return watches;
      });
      if (batch.lost()) this.cut();
      else {
        this.send(toJSON({ type: "acks", id, results: batch.results }));
        for (const { ack, record, streams } of watched) {
          this.#watch(ack.jobId);
          this.#follow(ack.jobId, readStreams(streams));
          if (ack.duplicate) {
            this.tell(record);
            this.pour(record);
          }
        }
      }
      batch.announce();
    };
    if (!(engine.ackDelay > 0)) return answer();
    this.#inFlight++;
    engine.after(engine.ackDelay, () => {
      this.#inFlight--;
      answer();
    });
  }

  /** All jobs of the subject take one place among those that are watched. */
  #checkRoom(): void {
    const { subscriptions } = this.#engine.limits;
    if (this.#watched.size + Number(this.#mine) < subscriptions) return;
    throw new Refusal("limit_exceeded", `${subscriptions} jobs are watched`);
  }

  #accept(frame: Frame, id: string | undefined, who: Identity, watches: boolean): void {
    const engine = this.#engine;
    const { type: _, id: __, ...request } = frame;
    const { ack, record } = engine.submit(request as unknown as Submit, who);
    if (engine.acksToLose > 0) {
      engine.acksToLose--;
      this.cut();
    } else {
      this.#ack(ack, id, watches);
      if (watches) this.#follow(ack.jobId, readStreams(request["streams"]));
    }
    if (ack.duplicate) {
      this.tell(record);
      this.pour(record);
    } else engine.announce(record);
  }

  #ack(ack: Ack, id: string | undefined, watches: boolean): void {
    this.send({ type: "ack", id, ...ack });
    if (watches) this.#watch(ack.jobId);
  }

  #order(kind: "cancel" | "retry", frame: Frame, id: string | undefined): void {
    this.who.checkOrder(kind);
    const watches = kind === "retry" && this.who.watches(frame["watch"]);
    const refused = this.#engine.refusal(kind);
    if (refused) throw refused;
    if (!frame["jobId"]) throw new Refusal("invalid_frame", "jobId is missing");
    const { ack, record } = this.#engine.command(kind, frame["jobId"], this.who);
    if (this.#engine.acksToLose > 0) {
      this.#engine.acksToLose--;
      this.cut();
    } else {
      this.#ack(ack, id, watches);
    }
    this.#engine.changed(record);
  }

  /** Begins a watch. What the session was told of all jobs it is not told again. */
  #watch(jobId: string): void {
    if (!this.#watched.has(jobId) && !this.#mine) this.#told.delete(jobId);
    this.#watched.add(jobId);
  }

  #unwatch(jobId: string): void {
    this.#watched.delete(jobId);
    this.#places.delete(jobId);
  }

  #subscribeMine(frame: Frame, id: string | undefined): void {
    const engine = this.#engine;
    const refused = engine.refusal("subscribe");
    if (refused) throw refused;
    checkMineAlone(frame["jobs"]);
    this.who.checkMine();
    if (this.#mine) {
      this.send({ type: "subscribed", id, jobs: [], mine: true });
      return;
    }
    this.#checkRoom();
    const after = frame["after"];
    const [, epoch, version] = /^(\d+)\.(\d+)$/.exec(typeof after === "string" ? after : "") ?? [];
    const reset = after !== undefined && Number(epoch) !== engine.epoch;
    this.#mine = true;
    if (reset) this.#told.clear();
    this.send({ type: "subscribed", id, jobs: [], mine: true, ...(reset ? { reset } : {}) });
    if (after !== undefined && !reset) {
      for (const record of engine.order) {
        if (record.subject === this.subject && record.version > Number(version)) this.#status(record, true);
      }
    }
    this.#cursor();
  }

  #subscribe(frame: Frame, id: string | undefined): void {
    const engine = this.#engine;
    const refs = readRefs(frame["jobs"]);
    const refused = engine.refusal("subscribe");
    if (refused) throw refused;
    const most = engine.limits.subscriptions;
    if (refs.length > most) throw new Refusal("limit_exceeded", `a frame may name ${most} jobs`);
    const tell: JobRecord[] = [];
    const jobs = refs.map((ref) => this.#subscribeOne(ref, tell));
    this.send({ type: "subscribed", id, jobs });
    for (const record of tell) this.tell(record);
    for (const { jobId, streams } of refs) {
      const record = this.#engine.records.get(jobId);
      if (record && streams) this.pour(record);
    }
  }

  #subscribeOne({ jobId, after, streams }: Ref, tell: JobRecord[]): object {
    try {
      const refused = this.#engine.refusal("watch");
      if (refused) throw refused;
      const record = this.#engine.find(jobId, this.who);
      if (!this.#watched.has(jobId)) this.#checkRoom();
      const reset = after > record.version;
      this.#watch(jobId);
      if (reset || after < record.version) {
        if (!this.#mine) this.#told.delete(jobId); // a second watch may begin further back
        tell.push(record);
      } else if (terminal(record.doc.state)) {
        this.#watched.delete(jobId); // it ended, and the client knows
      }
      this.#follow(jobId, streams);
      return { jobId, version: record.version, ...(reset ? { reset } : {}) };
    } catch (err) {
      if (err instanceof Refusal) return { jobId, error: err.problem.code };
      throw err;
    }
  }

  #unsubscribe(frame: Frame, id: string | undefined): void {
    this.who.check("read");
    if (frame["mine"] === true) {
      checkMineAlone(frame["jobs"]);
      this.#mine = false;
      this.send({ type: "unsubscribed", id, jobs: [], mine: true });
      return;
    }
    const jobs = readIDs(frame["jobs"]);
    for (const jobId of jobs) this.#unwatch(jobId);
    this.send({ type: "unsubscribed", id, jobs });
  }
}

/** The error of an HTTP answer. */
export function asHTTP(refused: Problem): AckwireError {
  return new AckwireError({ ...refused, status: codes[refused.code as ErrorCode][0] });
}
