// Which page is shown: the path below the console's folder, and its query.

import { root } from "./api.js";
import { Cell } from "./state.js";

export const folders = ["jobs", "workers", "types", "dead", "webhooks", "audit"] as const;

export type Folder = (typeof folders)[number];

export interface Route {
  page: "overview" | Folder | "job" | "type" | "letter" | "unknown";
  id: string;
  query: URLSearchParams;
}

/** The pages of one thing of a folder. */
const single: Record<string, Route["page"]> = { jobs: "job", types: "type", dead: "letter" };

function parse(): Route {
  const path = location.pathname.slice(root.pathname.length);
  const query = new URLSearchParams(location.search);
  const [first = "", id = "", ...more] = path.split("/");
  if (!path) return { page: "overview", id: "", query };
  const page = id ? single[first] : folders.find((folder) => folder === first);
  return !page || more.length ? { page: "unknown", id: "", query } : { page, id: decode(id), query };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = new Cell<Route>(parse());
export const href = (to: string): string => root.pathname + to;

let came = false; // from another page of the console

/** Shows another page; `replace` leaves no entry in the history. */
export function go(to: string, replace = false): void {
  if (replace) history.replaceState(history.state, "", href(to));
  else {
    history.pushState(null, "", href(to));
    came = true;
  }
  const was = route.get().page;
  route.set(parse());
  if (!replace && was !== route.get().page) scrollTo(0, 0);
}

/** Goes back to where the user came from, or to a page if that was outside. */
export function back(otherwise: string): void {
  if (came) history.back();
  else go(otherwise, true);
}

/** Leaves a page on which nothing is chosen: its filter first, then the page. */
export function up(): void {
  const here = location.pathname.slice(root.pathname.length);
  if (location.search) go(here, true);
  else if (here) back("");
}

addEventListener("popstate", () => route.set(parse()));
