// JSON as the server in memory writes and compares it.

const mark = "\u0001bigint:";
const marked = /"\\u0001bigint:(-?\d+)"/g;

/** JSON.stringify that writes a BigInt as the number that it is. */
export function toJSON(value: unknown): string {
  const text = JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? mark + String(v) : v));
  return text === undefined ? "null" : text.replace(marked, "$1");
}

/** Whether two JSON values are the same, whatever the order of their members. */
export function sameJSON(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) => {
    if (typeof v !== "object" || v === null || Array.isArray(v)) return v;
    return Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1));
  });
}
