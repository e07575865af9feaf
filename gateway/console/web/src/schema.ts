// What a form can ask for of a JSON Schema (draft 2020-12). What it cannot is asked for as JSON; the gateway validates.

import type { Node } from "./json.js";

interface Hints {
  title: string;
  hint: string;
}

/** A field of a form. */
export type Shape = Hints & (
  | { kind: "text"; input: "text" | "date" | "area" }
  | { kind: "number" }
  | { kind: "choice"; values: Node[] }
  | { kind: "object"; members: { name: string; required: boolean; shape: Shape }[] }
  | { kind: "list"; item: Shape }
  | { kind: "json" }
);

type Schema = Record<string, unknown>;

const deepest = 5; // levels of objects and lists that become fields
const most = 60; // fields of an object
const mostInAll = 300; // fields of a form

const isObject = (v: unknown): v is Schema => typeof v === "object" && v !== null && !Array.isArray(v);

/** Keywords that say what a form cannot ask for. */
const beyond = ["oneOf", "anyOf", "allOf", "not", "if", "patternProperties", "prefixItems", "dependentSchemas", "$dynamicRef"];

/** The schema itself, or the one in the same document that it refers to; not one that is within itself. */
function resolved(schema: unknown, root: unknown, within: Set<string>): Schema | undefined {
  let at: unknown = schema;
  for (let i = 0; i < 8 && isObject(at) && typeof at["$ref"] === "string"; i++) {
    const ref = at["$ref"];
    if (within.has(ref)) return undefined;
    within.add(ref);
    const [before, pointer] = ref.split("#", 2);
    if (before || (pointer && pointer[0] !== "/")) return undefined;
    let target: unknown = root;
    for (const step of (pointer ?? "").split("/").slice(1)) {
      const name = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
      target = isObject(target) && Object.hasOwn(target, name) ? target[name] : undefined;
    }
    at = target;
  }
  return isObject(at) && !("$ref" in at) ? at : undefined;
}

const bound = (s: Schema, low: string, high: string, unit: string): string => {
  const [from, to] = [s[low], s[high]];
  if (typeof from === "number" && typeof to === "number") return `${from} to ${to}${unit}`;
  if (typeof from === "number" && from > 0) return `at least ${from}${unit}`;
  return typeof to === "number" ? `at most ${to}${unit}` : "";
};

function literal(value: unknown): Node {
  return typeof value === "string" ? { kind: "string", value } : { kind: "literal", text: JSON.stringify(value) ?? "null" };
}

/** Makes the fields of a schema. */
export function shapeOf(schema: unknown): Shape {
  return make(schema, schema, 0, new Set(["#"]), { left: mostInAll });
}

function make(schema: unknown, root: unknown, depth: number, above: ReadonlySet<string>, fields: { left: number }): Shape {
  const within = new Set(above);
  const s = resolved(schema, root, within);
  const text = (v: unknown) => (typeof v === "string" ? v : "");
  const hints = { title: text(s?.["title"]), hint: text(s?.["description"]) };
  const json: Shape = { kind: "json", ...hints };
  if (!s || beyond.some((word) => word in s) || depth > deepest) return json;
  const inner = (sub: unknown) => make(sub, root, depth + 1, within, fields);
  const more = (...parts: unknown[]) => [hints.hint, ...parts].filter(Boolean).join(" · ");
  if ("const" in s) return { kind: "choice", values: [literal(s["const"])], ...hints };
  if (Array.isArray(s["enum"]) && s["enum"].length <= 200) return { kind: "choice", values: s["enum"].map(literal), ...hints };
  switch (s["type"]) {
    case "string": {
      const format = text(s["format"]);
      const long = typeof s["maxLength"] === "number" && s["maxLength"] > 250;
      const how = format === "date-time" ? "such as 2026-01-31T09:30:00Z" : format === "date" ? "" : format;
      return { kind: "text", input: format === "date" ? "date" : long ? "area" : "text", title: hints.title, hint: more(how, s["pattern"] && `pattern ${text(s["pattern"])}`, bound(s, "minLength", "maxLength", " characters")) };
    }
    case "number":
    case "integer":
      return { kind: "number", title: hints.title, hint: more(s["type"] === "integer" && "integer", bound(s, "minimum", "maximum", "")) };
    case "boolean":
      return { kind: "choice", values: [literal(true), literal(false)], ...hints };
    case "array":
      return isObject(s["items"]) ? { kind: "list", item: inner(s["items"]), title: hints.title, hint: more(bound(s, "minItems", "maxItems", " items")) } : json;
    case "object": {
      const all = isObject(s["properties"]) ? Object.entries(s["properties"]) : [];
      if (!all.length || all.length > Math.min(most, fields.left)) return json;
      fields.left -= all.length;
      const required: unknown[] = Array.isArray(s["required"]) ? s["required"] : [];
      const members = all.map(([name, sub]) => ({ name, required: required.includes(name), shape: inner(sub) }));
      return { kind: "object", members: [...members.filter((m) => m.required), ...members.filter((m) => !m.required)], ...hints };
    }
  }
  return json;
}

/** What a new field has. */
export function blank(shape: Shape): Node {
  switch (shape.kind) {
    case "object":
      return { kind: "object", members: shape.members.filter((m) => m.required && m.shape.kind !== "number" && !(m.shape.kind === "text" && m.shape.input === "date")).map((m) => [m.name, blank(m.shape)]) };
    case "list":
      return { kind: "array", items: [] };
    case "choice":
      return shape.values[0] ?? { kind: "literal", text: "null" };
    case "json":
      return { kind: "literal", text: "{}" };
  }
  return { kind: "string", value: "" };
}

/** Whether fields can show a value without hiding anything of it. */
export function fits(shape: Shape, node: Node | undefined): boolean {
  if (!node || shape.kind === "json") return true;
  switch (shape.kind) {
    case "object": {
      if (node.kind !== "object" || new Set(node.members.map(([name]) => name)).size !== node.members.length) return false;
      return node.members.every(([name, value]) => {
        const known = shape.members.find((m) => m.name === name);
        return known && fits(known.shape, value);
      });
    }
    case "list":
      return node.kind === "array" && node.items.length <= most && node.items.every((item) => fits(shape.item, item));
    case "text":
      return node.kind === "string";
    case "number":
      return node.kind === "number" || node.kind === "string";
    case "choice":
      return node.kind !== "object" && node.kind !== "array";
  }
}

/** One place of a payload and what is wrong with it. */
export interface Wrong {
  pointer: string;
  detail: string;
}

/** The errors that the gateway tells, each at the field that it is about: what is missing is not where its parent is. */
export function placed(errors: readonly Wrong[]): Wrong[] {
  return errors.flatMap(({ pointer, detail }) => {
    const missing = /^missing propert(?:y|ies) (.+)$/.exec(detail)?.[1];
    if (!missing) return [{ pointer, detail }];
    return [...missing.matchAll(/'((?:[^'\\]|\\.)*)'/g)].map(([, name]) => ({ pointer: `${pointer}/${step(name!)}`, detail: "is missing" }));
  });
}

/** A step of a JSON Pointer (RFC 6901). */
export const step = (name: string): string => name.replaceAll("~", "~0").replaceAll("/", "~1");
