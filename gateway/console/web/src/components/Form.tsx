// A form made from a JSON Schema. What is filled in is a JSON value all the time, so that numbers keep their digits.

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { write, type Node } from "../json.js";
import { blank, step, type Shape, type Wrong } from "../schema.js";
import { cut, visible } from "../text.js";

interface Props<S extends Shape = Shape> {
  shape: S;
  node: Node | undefined;
  /** undefined takes the value away, where it may be absent. */
  set(node: Node | undefined): void;
  pointer: string;
  name: string;
  required: boolean;
  errors: readonly Wrong[];
}

const number = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

type Of<K extends Shape["kind"]> = Props<Extract<Shape, { kind: K }>>;

/** A label, the field, what it takes, and what is wrong with it. */
function Labelled({ p, children }: { p: Props; children(id: string, described: { "aria-describedby": string; "aria-invalid": boolean }): ComponentChildren }) {
  const id = useId();
  const wrong = wrongOf(p);
  return (
    <div class={wrong.length ? "ask wrong" : "ask"}>
      <label for={id}>{visible(cut(p.shape.title || p.name || "Payload", 200))} {p.required ? <span class="dim">required</span> : null}</label>
      {children(id, { "aria-describedby": id + "h", "aria-invalid": wrong.length > 0 })}
      <Hint p={p} id={id + "h"} />
    </div>
  );
}

const wrongOf = (p: Props) => p.errors.filter((e) => e.pointer === p.pointer);

/** What is wrong with a field, and what it takes. */
const Hint = ({ p, id }: { p: Props; id?: string }) => (
  <div id={id} class="hint">
    {wrongOf(p).map((e) => <span key={e.detail} class="error">{visible(cut(e.detail, 500))}. </span>)}
    {visible(cut(p.shape.hint, 500))}
  </div>
);

/** Fields that belong together. */
const Group = ({ p, title, children }: { p: Props; title: string; children: ComponentChildren }) => (
  <fieldset class="asks"><legend>{visible(cut(title, 200))}</legend>
    {(wrongOf(p).length > 0 || p.shape.hint) && <Hint p={p} />}
    {children}
  </fieldset>
);

export function Field(p: Props): ComponentChildren {
  switch (p.shape.kind) {
    case "object":
      return <Members {...(p as Of<"object">)} />;
    case "list":
      return <List {...(p as Of<"list">)} />;
    case "choice":
      return <Choice {...(p as Of<"choice">)} />;
    case "json":
      return <Raw {...p} />;
    default:
      return <Text {...(p as Of<"text">)} />;
  }
}

function Text(p: Of<"text"> | Of<"number">) {
  const { node, shape, set } = p;
  const value = node?.kind === "string" ? node.value : node?.kind === "number" ? node.text : "";
  const change = (text: string) => {
    // A number or a date that is empty is missing, which is told more plainly than that "" is none.
    if (!text && (!p.required || shape.kind === "number" || shape.input === "date")) set(undefined);
    else set(shape.kind === "number" && number.test(text) ? { kind: "number", text } : { kind: "string", value: text });
  };
  const area = shape.kind === "text" && (shape.input === "area" || value.includes("\n"));
  return (
    <Labelled p={p}>{(id, described) => (area
      ? <textarea id={id} {...described} rows={3} value={value} spellcheck={false} onInput={(event) => change(event.currentTarget.value)} />
      : <input id={id} {...described} value={value} autocomplete="off" spellcheck={false} type={(shape.kind === "text" && shape.input === "date" ? "date" : "text") as "text"}
          inputMode={shape.kind === "number" ? "decimal" : "text"} onInput={(event) => change(event.currentTarget.value)} />
    )}</Labelled>
  );
}

function Choice(p: Of<"choice">) {
  const { node, shape, set } = p;
  const texts = shape.values.map((v) => write(v));
  const now = node ? write(node) : "";
  return (
    <Labelled p={p}>{(id, described) => (
      <select id={id} {...described} value={String(texts.indexOf(now))} onChange={(event) => set(shape.values[Number(event.currentTarget.value)])}>
        {(!p.required || !texts.includes(now)) && <option value="-1">{now && !texts.includes(now) ? cut(now, 80) : "–"}</option>}
        {shape.values.map((v, i) => <option key={i} value={String(i)}>{visible(cut(v.kind === "string" ? v.value : texts[i]!, 200))}</option>)}
      </select>
    )}</Labelled>
  );
}

/** Whether a text is JSON. */
export function sound(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** A value as JSON. A text that is none yet is kept as it is, and is said to be none. */
function Raw(p: Props) {
  const { node, set, pointer } = p;
  const text = !node ? "" : node.kind === "literal" ? node.text : write(node, "  ");
  const why = text ? sound(text) : undefined;
  return (
    <Labelled p={why ? { ...p, errors: [...p.errors, { pointer, detail: "This is not JSON yet" }] } : p}>{(id, described) => (
      <textarea id={id} {...described} class="code" rows={4} value={text} spellcheck={false} placeholder="JSON"
        onInput={(event) => set(event.currentTarget.value || p.required ? { kind: "literal", text: event.currentTarget.value } : undefined)} />
    )}</Labelled>
  );
}

function Members(p: Of<"object">) {
  const { node, shape, set, pointer, errors } = p;
  const members = node?.kind === "object" ? node.members : [];
  const change = (name: string, value: Node | undefined) => {
    const at = members.findIndex(([n]) => n === name);
    const next = [...members];
    if (value === undefined) next.splice(at, at < 0 ? 0 : 1);
    else next.splice(at < 0 ? next.length : at, 1, [name, value]);
    set(next.length || p.required ? { kind: "object", members: next } : undefined);
  };
  const fields = shape.members.map((m) => (
    <Field key={m.name} shape={m.shape} name={m.name} required={m.required} errors={errors} pointer={`${pointer}/${step(m.name)}`}
      node={members.find(([n]) => n === m.name)?.[1]} set={(value) => change(m.name, value)} />
  ));
  if (!pointer) return <div class="asks">{fields}</div>;
  return <Group p={p} title={shape.title || p.name}>{fields}</Group>;
}

function List(p: Of<"list">) {
  const { node, shape, set, pointer, errors } = p;
  const items = node?.kind === "array" ? node.items : [];
  const change = (next: Node[]) => set(next.length || p.required ? { kind: "array", items: next } : undefined);
  const title = shape.title || p.name || "Items";
  return (
    <Group p={p} title={title}>
      {items.map((item, i) => (
        <div key={i} class="item-row">
          <Field shape={shape.item} name={`${title} ${i + 1}`} required errors={errors} pointer={`${pointer}/${i}`} node={item}
            set={(value) => change(items.map((old, n) => (n === i ? (value ?? blank(shape.item)) : old)))} />
          <button type="button" class="quiet" aria-label={`Remove ${title} ${i + 1}`} onClick={() => change(items.filter((_, n) => n !== i))}>✕</button>
        </div>
      ))}
      <div><button type="button" onClick={() => change([...items, blank(shape.item)])}>Add</button></div>
    </Group>
  );
}
