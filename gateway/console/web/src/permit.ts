// What the user may do with a job, and why not. The gateway decides; this says it before one tries.

import type { State, Status } from "ackwire";
import type { Me } from "./api.js";

export type Order = "cancel" | "retry" | "erase";
export const orders: readonly Order[] = ["cancel", "retry", "erase"];

const needs: Record<Order, string> = { cancel: "cancel", retry: "submit", erase: "erase" };

export const ended = (state: State): boolean => state === "completed" || state === "failed" || state === "cancelled";

/** Returns why the user may not give an order at all; undefined if it may. */
export function forbids(me: Me, order: Order): string | undefined {
  const may = (name: string) => me.permissions.includes(name);
  if (may(needs[order]) || (order !== "erase" && may("operate"))) return undefined;
  return `Your token does not permit this: it needs the permission “${needs[order]}”`;
}

/** Returns why a job takes no such order of the user: it is somebody else's, or in another state; undefined if it does. */
export function refuses(me: Me, order: Order, job: Pick<Status, "type" | "state" | "subject" | "cancelRequested">): string | undefined {
  // With a grant the page does not know who has submitted a job, so it leaves this to the gateway.
  if (order !== "erase" && job.subject && job.subject !== me.subject && !me.limited && lacks(me, "operate") && lacks(me, "cancel:tenant")) {
    return "The job is somebody else's: the token needs the permission “cancel:tenant”";
  }
  if (order === "cancel") {
    if (ended(job.state)) return "The job has ended already";
    return job.cancelRequested ? "The job was asked to stop already" : undefined;
  }
  if (!ended(job.state)) return `Only a job that has ended can be ${order === "retry" ? "run again" : "erased"}`;
  return order === "retry" && job.type === "ackwire.bulk" ? "What was done to many jobs is not done again: begin anew" : undefined;
}

/** Returns why the user may not do what needs a permission; undefined if it may. */
export function lacks(me: Me, permission: string): string | undefined {
  return me.permissions.includes(permission) ? undefined : `Your token does not permit this: it needs the permission “${permission}”`;
}
