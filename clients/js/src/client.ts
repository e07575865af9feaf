// The client: what a program calls, on top of the link, the watches and HTTP.

import type { Call } from "./conn.js";
import { AckwireError, ClosedError, failure, IndeterminateError, type Parse, unavailable } from "./errors.js";
import { iterator } from "./iterate.js";
import { createJob, type Handle, type JobContext } from "./job.js";
import { createLink } from "./link.js";
import type { Mine } from "./mine.js";
import type { Rest } from "./rest.js";
import { quote, random, splitURL } from "./text.js";
import { Backoff, now } from "./time.js";
import { createTokens } from "./token.js";
import type { Ackwire, ConnectOptions, State, Status, SubmitOptions, Transport } from "./types.js";
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

  // Loaded when they are first used.
  let rest: Rest | undefined;
  let mine: Mine | undefined;
  const load = <T>(module: Promise<T>) => module.catch((error) => {
    throw unavailable("import", error);
  });
  const http = async () => {
    if (link.ended_) throw link.ended_;
    const module = await load(import("./rest.js"));
    return (rest ??= new module.Rest(base, tokens, fetch, parser, () => link.ended_));
  };

  const link = createLink(
    transport, { base, query, tickets: options.tickets === true, fetch, WebSocket: options.WebSocket, standard },
    tokens, new Backoff(options.backoff), parser, (wake) => wakes(wake, options.wake),
    {
      watching_: () => watches_.any_() || !!mine?.any_(),
      frame_: (conn) => watches_.frame_(conn),
      opened_() {
        watches_.install_();
        mine?.poke_();
      },
      lost_: (conn) => mine?.ended_(conn),
      take_(conn, frame, call) {
        const { id, type, jobId, job, version } = frame;
        switch (type) {
          case "status":
            if (typeof job.state !== "string" || !(Number.isSafeInteger(version) && version > 0)) return false;
            job.version = version;
            if (frame.mine === true) mine?.status_(job.jobId, job);
            return watches_.status_(job.jobId, job);
          case "cursor":
            return mine?.cursor_is_(conn, frame);
          case "subscribed":
            if (frame.mine !== true) watches_.subscribed_(conn, frame);
          // falls through
          case "unsubscribed":
            if (frame.mine === true) mine?.answer_(conn, frame);
            if (call && call.kind_ + "d" === type) link.answer_(conn, call, undefined, frame);
            return;
          case "ack": {
            if (!call) return;
            if (!call.rank_) return false; // it answers another kind of request
            const sound = !!jobId && typeof jobId === "string" && typeof frame.state === "string";
            // Here and not in submit: the next frame may already be this job's first status.
            if (sound && call.watch_) call.sub_ = watches_.acked_(conn, jobId, !!call.finish_)!;
            call.answered_ = !sound;
            link.answer_(conn, call, sound ? undefined : failure("indeterminate", "unreadable answer", true), frame);
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
      failed_(error) {
        watches_.fail_(error);
        mine?.fail_(error);
        handles_.clear();
      },
    },
  );
  const watches_ = createWatches(link, (id, had) => mine?.told_(id, had));

  const order = async (kind_: "cancel" | "retry", id: string, signal_?: AbortSignal): Promise<State> => {
    checkID(id);
    // A cancel may be sent twice; a retry could open the job once more than was asked for.
    const retry = kind_ === "retry";
    const body_ = `,"jobId":${quote(id)}${retry ? ',"watch":false' : ""}}`;
    try {
      return (await link.call_({ kind_, rank_: 1, body_, resend_: !retry, signal_ })).state;
    } finally {
      if (retry) handles_.get(id)?.forEach((handle) => handle.reopened_());
    }
  };

  const client = {
    connection: link.state_,
    async submit(job: string, payload: unknown = null, options: SubmitOptions = {}) {
      const { key: given, ttl = tenMinutes, signal: signal_, watch, ...fields } = options;
      const key_ = given === false ? undefined : (given ?? random());
      const watch_ = watch !== false;
      const body_ = "," + quote({ ...fields, job, payload, key: key_, watch: watch_ ? undefined : watch }).slice(1);
      const until_ = now() + ttl;
      // An answer left open whether the job exists. From then on only an ack or a refusal for good settles it: "nothing
      // was written" speaks of the last try alone.
      let doubt = false;
      let jobId: string | undefined;
      const unknown = (cause: unknown) =>
        new IndeterminateError(cause instanceof IndeterminateError ? cause.cause : cause, key_, jobId);
      for (let tries = 0; ; tries++) {
        const call: Call = { kind_: "submit", rank_: 2, body_, key_, watch_, resend_: !!key_, until_, signal_ };
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
    mine: (options) => iterator<Status>(async (wake) => {
      const module = await load(import("./mine.js"));
      return (mine ??= new module.Mine(link, client)).follow_(wake, options?.held);
    }, options?.signal),
    cancel: (id, options) => order("cancel", id, options?.signal),
    retry: (id, options) => order("retry", id, options?.signal),
    result: (id, options) => client.job(id).result(options),
    close: async () => link.fail_(new ClosedError({ code: "closed", detail: "the client was closed" })),
    [asyncDispose]: () => client.close(),
  } as Partial<Ackwire> as Ackwire;
  for (const name of ["list", "get", "why", "deliveries", "stats", "download", "grant", "erase"] as const) {
    (client as any)[name] = async (...args: [any, any?]) => ((await http())[name] as any)(...args);
  }
  const context: JobContext = { client_: client as JobContext["client_"], watches_, handles_ };
  return client;
}
