// Who a client of the server in memory is, and what it may do.

import type { GrantOptions } from "../types.js";
import { Refusal } from "./codes.js";
import type { JobRecord } from "./record.js";

/** What is permitted, or ordered, of a job. */
export type Deed = "read" | "cancel" | "submit" | "erase" | "payloads";

/** The words that a grant may be asked for, with all that each permits. */
const words: Record<string, readonly string[]> = {
  submit: ["submit"],
  read: ["read"],
  cancel: ["cancel"],
  payloads: ["payloads"],
  erase: ["erase"],
  "read:tenant": ["read:tenant", "read"],
  "cancel:tenant": ["cancel:tenant", "cancel"],
  operate: ["operate", "read:tenant", "read", "cancel:tenant", "cancel"],
  admin: ["submit", "read", "cancel", "payloads", "read:tenant", "cancel:tenant"],
};

const most = 100; // jobs, or job types, of a grant
const longest = 86_400; // seconds of a grant

/** How long after its end a grant is still taken, in milliseconds: clocks may differ. */
const leeway = 30_000;

/** The jobs that a grant opens: those of these IDs, of these types, or with both those that fit both. */
export interface Scope {
  jobs: readonly string[];
  types: readonly string[];
}

const opens = (names: readonly string[], name: string) => names.length === 0 || names.includes(name);

const forbidden = (detail: string) => new Refusal("forbidden", detail);
const invalid = (detail: string) => new Refusal("invalid_frame", detail);

export class Identity {
  readonly subject: string;
  readonly permissions: ReadonlySet<string>;
  /** Of a grant. */
  readonly scope: Scope | undefined;
  /** When a grant ends, in milliseconds. */
  readonly expires: number | undefined;

  constructor(subject: string, permissions: Iterable<string>, scope?: Scope, expires?: number) {
    this.subject = subject;
    this.permissions = new Set(permissions);
    this.scope = scope;
    this.expires = expires;
  }

  may(permission: string): boolean {
    return this.permissions.has(permission);
  }

  /** Refuses a client that lacks one of these permissions. */
  check(...needed: Deed[]): void {
    if (needed.every((permission) => this.may(permission))) return;
    throw forbidden(`the token does not permit this: it needs ${needed.join(" ")}`);
  }

  checkOrder(kind: "cancel" | "retry"): void {
    if (!this.may("operate")) this.check(kind === "cancel" ? "cancel" : "submit");
  }

  /** Whether a job is one of those that the client may do this with, if it may at all. */
  sees(record: JobRecord, deed: Deed = "read"): boolean {
    const whole = deed === "cancel" || deed === "submit" ? "cancel:tenant" : "read:tenant";
    const own = !this.may(whole) && !this.may("operate");
    return (!own || record.subject === this.subject) && this.#opens(record);
  }

  #opens({ doc: { jobId, type } }: JobRecord): boolean {
    return !this.scope || (opens(this.scope.jobs, jobId) && opens(this.scope.types, type));
  }

  /** Refuses submits of a type that a grant does not permit. */
  checkSubmit(type: string): void {
    if (!this.scope || (this.scope.jobs.length === 0 && opens(this.scope.types, type))) return;
    throw forbidden("the grant does not permit to submit jobs of this type");
  }

  /** Whether the client may watch all of its jobs at once. */
  get mayFollowAll(): boolean {
    return this.may("read") && !this.scope;
  }

  checkMine(): void {
    if (this.scope) throw forbidden("a grant follows its jobs one by one");
  }

  /** Whether the job of a submit or a retry is to be watched; `asked` is what the frame says. */
  watches(asked: unknown): boolean {
    if (this.may("read")) return asked !== false;
    if (asked === true) throw forbidden("the token does not permit watching: it needs read");
    return false;
  }

  /** Refuses a grant that may not stand in a URL: one that is not limited to jobs, or does more than to read. */
  checkURL(): void {
    const reads = ["read", "read:tenant", "payloads"];
    if (this.scope?.jobs.length && [...this.permissions].every((permission) => reads.includes(permission))) return;
    throw forbidden("a grant may stand in a URL only if it is limited to jobs and can only read");
  }

  /** Whether it is a grant that has ended. */
  get over(): boolean {
    return this.expires !== undefined && Date.now() > this.expires + leeway;
  }

  /** Of a grant: milliseconds until its client is warned, and until its sessions are closed. */
  get left(): { warning: number; end: number } | undefined {
    if (this.expires === undefined) return undefined;
    const left = Math.max(0, this.expires - Date.now());
    return { warning: left - Math.min(left / 10, 60_000), end: this.expires + leeway - Date.now() };
  }

  /** The identity of a grant that the client asks for; it is never wider than the client's own. */
  granted({ ttl, permissions }: GrantOptions, asked: { jobs?: unknown; types?: unknown }): Identity {
    if (typeof ttl !== "number" || !(ttl >= 1 && ttl <= longest)) throw invalid("ttl must be 1 to 86400 seconds");
    const wanted = permissions?.length ? permissions : ["read"];
    for (const word of wanted) {
      const all = Object.hasOwn(words, word) ? words[word] : undefined;
      if (!all) throw invalid(`${JSON.stringify(word)} is not a permission`);
      if (all.every((permission) => this.may(permission))) continue;
      throw forbidden(`the token does not permit ${word}, so a grant of its holder cannot, either`);
    }
    const scope = this.#narrowed({ jobs: names(asked.jobs, jobID), types: names(asked.types, typeName) });
    const expires = Math.min(Date.now() + ttl * 1000, this.expires ?? Infinity);
    return new Identity(this.subject, wanted.flatMap((word) => words[word] ?? []), scope, expires);
  }

  #narrowed(asked: Scope): Scope {
    if (asked.jobs.length + asked.types.length === 0) throw invalid("a grant is limited to some jobs or to some job types");
    if (!this.scope) return asked;
    const { jobs, types } = this.scope;
    if (!asked.jobs.every((id) => opens(jobs, id)) || !asked.types.every((type) => opens(types, type))) {
      throw forbidden("the grant of the grant's maker does not open these jobs");
    }
    return { jobs: asked.jobs.length ? asked.jobs : jobs, types: asked.types.length ? asked.types : types };
  }
}

/** Reads the jobs or the types of a grant. */
function names(list: unknown, read: (name: unknown) => string): string[] {
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) throw invalid("the body cannot be read");
  if (list.length > most) throw invalid(`a grant names at most ${most} jobs or job types`);
  return list.map(read);
}

function jobID(name: unknown): string {
  if (typeof name === "string" && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(name)) return name.toLowerCase();
  throw invalid(`${JSON.stringify(name)} is not a job ID`);
}

function typeName(name: unknown): string {
  if (typeof name === "string" && name !== "" && name.length <= 128) return name;
  throw invalid(`${JSON.stringify(name)} is not a job type`);
}

/** A client of a server that takes any token, and none: it may do everything. */
export const anyone = new Identity("", Object.keys(words).filter((word) => word !== "admin"));

/** The holder of a token: it may do everything with the jobs of its subject. */
export const holder = (subject: string) => new Identity(subject, ["submit", "read", "cancel", "payloads", "erase"]);
