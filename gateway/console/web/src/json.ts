// JSON read without loss: numbers keep their digits, members their order and their repetitions.

/** A value. Numbers and literals are their text. */
export type Node =
  | { kind: "object"; members: [string, Node][] }
  | { kind: "array"; items: Node[] }
  | { kind: "string"; value: string }
  | { kind: "number" | "literal"; text: string };

type Open = Extract<Node, { kind: "object" | "array" }>;

const token = /[ \t\n\r]*(?:([{}[\],:])|("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null))/y;

/**
 * Parses a text. It keeps its own stack, so that no depth is too deep. Throws a SyntaxError for what is not JSON; where
 * commas and colons stand it does not check, since a server has written the text.
 */
export function parse(text: string): Node {
  const stack: { into: Open; name: string | undefined }[] = [];
  let whole: Node | undefined;
  token.lastIndex = 0;
  const put = (value: Node) => {
    const top = stack.at(-1);
    if (!top) whole ??= value;
    else if (top.into.kind === "array") top.into.items.push(value);
    else {
      top.into.members.push([top.name ?? "", value]);
      top.name = undefined;
    }
  };
  while (token.lastIndex < text.length) {
    const at = token.lastIndex;
    const match = token.exec(text);
    if (!match) {
      if (!text.slice(at).trim()) break;
      throw new SyntaxError(`no JSON at ${at}`);
    }
    const [, mark, string, number, literal] = match;
    if (mark === "{" || mark === "[") {
      const value: Open = mark === "{" ? { kind: "object", members: [] } : { kind: "array", items: [] };
      put(value);
      stack.push({ into: value, name: undefined });
    } else if (mark === "}" || mark === "]") stack.pop();
    else if (string !== undefined) {
      const value = JSON.parse(string) as string;
      const top = stack.at(-1);
      if (top?.into.kind === "object" && top.name === undefined) top.name = value;
      else put({ kind: "string", value });
    } else if (number !== undefined) put({ kind: "number", text: number });
    else if (literal !== undefined) put({ kind: "literal", text: literal });
  }
  if (!whole) throw new SyntaxError("no JSON");
  return whole;
}

/** The value of a member of an object. */
export function member(node: Node | undefined, name: string): Node | undefined {
  return node?.kind === "object" ? node.members.find(([key]) => key === name)?.[1] : undefined;
}

/** A parsed value of the client as a node: integers beyond doubles are BigInts there. */
export function nodeOf(value: unknown): Node {
  return parse(JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? (JSON as any).rawJSON?.(String(v)) ?? String(v) : v)) ?? "null");
}

/** Writes a value: on one line, or with members and items on lines of their own. It keeps its own stack, as parse does. */
export function write(node: Node, indent = ""): string {
  let out = "";
  const todo: (string | [Node, number])[] = [[node, 0]];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (typeof next === "string") {
      out += next;
      continue;
    }
    const [value, depth] = next;
    if (value.kind === "string") out += JSON.stringify(value.value);
    else if ("text" in value) out += value.text;
    else {
      const parts: [string, Node][] = value.kind === "object"
        ? value.members.map(([name, v]) => [JSON.stringify(name) + (indent ? ": " : ":"), v])
        : value.items.map((v) => ["", v]);
      const [left, right] = value.kind === "object" ? "{}" : "[]";
      const line = (n: number) => (indent && parts.length ? "\n" + indent.repeat(n) : "");
      todo.push(line(depth) + right!);
      parts.reverse().forEach(([name, v], i) => todo.push([v, depth + 1], (i === parts.length - 1 ? "" : ",") + line(depth + 1) + name));
      out += left;
    }
  }
  return out;
}
