// The client: what a program calls, on top of the link, the watches and HTTP.

import type { Call } from "./conn.js";
import { AckwireError, ClosedError, failure, IndeterminateError, type Parse, unavailable } from "./errors.js";
import { iterator } from "./iterate.js";
import { createJob, type Handle, type JobContext } from "./job.js";
import { createLink } from "./link.js";
import type { Mine } from "./mine.js";
import { quote, random, splitURL } from "./text.js";
import { Backoff, now } from "./time.js";
import { createTokens } from "./token.js";
import type { Ackwire, ConnectOptions, Status, SubmitOptions, Transport } from "./types.js";
import { wakes } from "./wake.js";
import { checkID, createWatches } from "./watch.js";

const tenMinutes = 600_000;

// Where `await using` is translated the symbol may be missing; compilers then take this one.
const asyncDispose: typeof Symbol.asyncDispose = Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");

export function createClient(options: ConnectOptions, transport: Transport, standard: Transport): Ackwire {
  const [base, query] = splitURL(options.url);
  const { bigints } = options;
  const tokens = createTokens(options.token);
  // Called without a receiver: browsers refuse fetch as a method of another object.
  const fetch: typeof globalThis.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  const parser = (): Parse | Promise<Parse> =>
    bigints && bigints !== "number" ? import("./bigints.js").then((module) => module.parser(bigints)) : JSON.parse;
  const handles_ = new Map<string, Set<Handle>>();

  /** What is made, once, of a module that is loaded when it is first used. */
  const late = <M, T>(load: () => Promise<M>, make: (module: M) => T) => {
    let made: T | undefined;
    return async () => {
      const module = await load().catch((error) => {
        throw unavailable("import", error);
      });
      return (made ??= make(module));
    };
  };
  let mine: Mine | undefined;
  const mines = late(() => import("./mine.js"), ({ Mine }) => (mine = new Mine(link, client)));
  const streams_ = late(() => import("./streams.js"), ({ Streams }) => new Streams(link, watches_));
  const http = late(() => import("./rest.js"), ({ Rest }) => new Rest(base, tokens, fetch, parser, link, context));

  const link = createLink(
    transport, { base, query, tickets: options.tickets === true, fetch, WebSocket: options.WebSocket, standard },
    tokens, new Backoff(options.backoff), parser, (wake) => wakes(wake, options.wake),
    (conn, frame, call) => {
      const { id, type, jobId, job, version } = frame;
      if (type === "status") {
        if (typeof job.state !== "string" || !(Number.isSafeInteger(version) && version > 0)) return false;
        job.version = version;
      }
      if (link.parts_.some((part) => part.take_?.(conn, frame, call) === false)) return false;
      switch (type) {
        case "status":
          return watches_.status_(job.jobId, job);
        case "subscribed":
          if (frame.mine !== true) watches_.subscribed_(conn, frame);
        // falls through
        case "unsubscribed":
          if (call && call.kind_ + "d" === type) link.answer_(conn, call, undefined, frame);
          return;
        case "ack": {
          if (!call) return;
          if (!call.rank_) return false; // it answers another kind of request
          const sound = !!jobId && typeof jobId === "string" && typeof frame.state === "string";
          // Here and not in submit: the next frame may already be this job's first status.
          if (sound && call.watch_) call.sub_ = watches_.acked_(conn, jobId, !!call.finish_)!;
          call.answered_ = !sound;
          link.answer_(conn, call, sound ? undefined : failure("indeterminate", "bad answer", true), frame);
          return sound;
        }
        case "error": {
          const error = new AckwireError(frame);
          if (!call) return watches_.refused_(conn, id, error);
          call.answered_ = true;
          link.answer_(conn, call, error);
        }
      }
    },
  );
  const watches_ = createWatches(link, (id, had) => mine?.told_(id, had));

  const client = {
    connection: link.state_,
    async submit(job: string, payload: unknown = null, options: SubmitOptions = {}) {
      const { key: given, ttl = tenMinutes, signal: signal_, watch, ...fields } = options;
      const key_ = given === false ? undefined : (given ?? random());
      const watch_ = watch !== false;
      if (options.streams) await streams_(); // what takes them is there before they come
      const body_ = "," + quote({ ...fields, job, payload, key: key_, watch: watch_ ? undefined : watch }).slice(1);
      const until_ = now() + ttl;
      // An answer left open whether the job exists. From then on only an ack or a refusal for good settles it: "nothing
      // was written" speaks of the last try alone.
      let doubt = false;
      let jobId: string | undefined;
      const unknown = (cause: unknown) =>
        new IndeterminateError(cause instanceof IndeterminateError ? cause.cause : cause, key_, jobId);
      for (let tries = 0; ; tries++) {
        const call: Call = {
          kind_: "submit", rank_: 2, body_, key_, watch_, streams_: options.streams, resend_: !!key_, until_, signal_,
        };
        try {
          const ack = await link.call_(call);
          return createJob(context, ack.jobId, call.sub_, ack);
        } catch (error) {
          const answer = call.answered_ ? (error as AckwireError) : undefined;
          const open = answer?.code === "indeterminate" || (call.sends_! > 1 && answer?.retryable);
          doubt ||= !!open;
          if (signal_?.aborted || !doubt || (answer && !answer.retryable && !open)) throw error;
          jobId = answer?.jobId ?? jobId;
          const wait = link.backoff_.wait_(tries, answer?.retryAfter);
          if (!answer || !key_ || now() + wait >= until_) throw unknown(error);
          await link.sleep_(wait, signal_).catch((error) => {
            throw signal_?.aborted ? error : unknown(error);
          });
        }
      }
    },
    job(id: string) {
      if (/^[0-9A-F-]{36}$/.test(id)) id = id.toLowerCase(); // a UUID in upper case is the same one
      const [handle = createJob(context, id)] = handles_.get(id) ?? [];
      return handle;
    },
    watch: (id, options) => client.job(id).watch(options),
    mine: (options) => iterator<Status>(async (wake) => (await mines()).follow_(wake, options?.held), options?.signal),
    async cancel(id, options) {
      checkID(id);
      const body_ = `,"jobId":${quote(id)}}`;
      return (await link.call_({ kind_: "cancel", rank_: 1, body_, resend_: true, signal_: options?.signal })).state;
    },
    result: (id, options) => client.job(id).result(options),
    close: async () => link.fail_(new ClosedError({ code: "closed", detail: "client closed" })),
    [asyncDispose]: () => client.close(),
  } as Partial<JobContext["client_"]> as JobContext["client_"];
  for (const name of ["why", "erase", "payload", "deliveries", "get", "history", "stats", "download", "retry", "list", "grant", "submitBatch"] as const) {
    (client as any)[name] = async (what: any, options: any) => ((await http()) as any)[name](what, options);
  }
  const context: JobContext = { client_: client, watches_, streams_, handles_ };
  return client;
}
