// What the user may do with a job, and why not. The gateway decides; this says it before one tries.

import type { State } from "ackwire";
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

/** Returns why an order makes no sense for a job in a state; undefined if it does. */
export function senseless(order: Order, state: State, cancelRequested?: boolean): string | undefined {
  if (order === "cancel") {
    if (ended(state)) return "The job has ended already";
    return cancelRequested ? "The job was asked to stop already" : undefined;
  }
  return ended(state) ? undefined : `Only a job that has ended can be ${order === "retry" ? "run again" : "erased"}`;
}

/** Returns why the user may not do what needs a permission; undefined if it may. */
export function lacks(me: Me, permission: string): string | undefined {
  return me.permissions.includes(permission) ? undefined : `Your token does not permit this: it needs the permission “${permission}”`;
}
