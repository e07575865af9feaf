// Reading JSON whose integers a double cannot hold.

import { random } from "./text.js";

/**
 * Makes a parser that reads integers beyond ±(2^53 − 1) as strings or as BigInts, all else as JSON.parse does.
 * It works on the text, since not every runtime shows a reviver the source of a number.
 */
export function parser(as: "string" | "bigint"): (text: string) => any {
  const mark = random();
  const revive = (_: string, value: unknown) =>
    typeof value === "string" && value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value;
  return (text) => {
    if (!/\d{16}/.test(text)) return JSON.parse(text);
    let found = false;
    const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) => {
      if (!/^-?\d{16,}$/.test(token) || Number.isSafeInteger(+token)) return token;
      found = true;
      return `"${as === "bigint" ? mark : ""}${token}"`;
    });
    return found && as === "bigint" ? JSON.parse(marked, revive) : JSON.parse(marked);
  };
}
