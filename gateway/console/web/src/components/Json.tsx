// JSON that folds. Only what is open is in the page, so that neither depth nor length slows it.

import { useState } from "preact/hooks";
import type { Node } from "../json.js";
import { count, cut, quoted } from "../text.js";

const openDepth = 2; // levels that are open at first
const chunk = 100; // members that are shown at once
const shortString = 500;

function Text({ value }: { value: string }) {
  const [whole, set] = useState(false);
  const long = value.length > shortString;
  const shown = long && !whole ? cut(value, shortString) : value;
  return (
    <>
      <bdi class="j-string" dir="ltr">"{quoted(shown)}{shown.length === value.length && '"'}</bdi>
      {long && <button class="quiet more" onClick={() => set(!whole)}>{whole ? "show less" : `… show all ${count(value.length)} characters`}</button>}
    </>
  );
}

function Value({ node, depth }: { node: Node; depth: number }) {
  if (node.kind === "string") return <Text value={node.value} />;
  if (node.kind === "object" || node.kind === "array") return <Fold node={node} depth={depth} />;
  return <span class={"j-" + node.kind}>{node.text}</span>;
}

function Fold({ node, depth }: { node: Extract<Node, { kind: "object" | "array" }>; depth: number }) {
  const object = node.kind === "object";
  const size = object ? node.members.length : node.items.length;
  const [open, set] = useState(depth < openDepth);
  const [shown, show] = useState(chunk);
  const [left, right] = object ? ["{", "}"] : ["[", "]"];
  if (!size) return <span class="j-mark">{left}{right}</span>;
  const what = `${count(size)} ${object ? (size === 1 ? "member" : "members") : size === 1 ? "item" : "items"}`;
  return (
    <>
      <button class="quiet fold" aria-expanded={open} aria-label={`${open ? "Fold" : "Unfold"} ${what}`} onClick={() => set(!open)}>
        <span class="j-mark">{left}</span>{!open && <span class="dim"> {what} </span>}{!open && <span class="j-mark">{right}</span>}
      </button>
      {open && (
        <>
          <ul>
            {object
              ? node.members.slice(0, shown).map(([key, value], i) => (
                <li key={i}><bdi class="j-key" dir="ltr">"{quoted(cut(key, shortString))}"</bdi><span class="j-mark">: </span><Value node={value} depth={depth + 1} /></li>
              ))
              : node.items.slice(0, shown).map((value, i) => <li key={i}><Value node={value} depth={depth + 1} /></li>)}
            {shown < size && <li><button class="quiet more" onClick={() => show(shown + 10 * chunk)}>{count(size - shown)} more</button></li>}
          </ul>
          <span class="j-mark">{right}</span>
        </>
      )}
    </>
  );
}

/** Shows a value. It can be focused, so that the keyboard scrolls it. */
export const Json = ({ node, label, depth = 0 }: { node: Node; label: string; depth?: number }) => (
  <div class="json" tabIndex={0} role="group" aria-label={label}><Value node={node} depth={depth} /></div>
);
