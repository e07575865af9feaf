// Text of users and of jobs, made visible: what cannot be seen, or would change how its surroundings look, is escaped.

// Controls but line ends and tabs, marks of direction, zero-width characters, separators, lone surrogates, and the byte order mark.
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const escape = (c: string) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");

/** Returns a text with what is hidden in it as \uXXXX. */
export const visible = (text: string): string => text.replace(hidden, escape);

/** Returns a text as the inside of a JSON string, on one line. */
export const quoted = (text: string): string =>
  visible(JSON.stringify(text).slice(1, -1));

/** Cuts a text to a number of characters at most, and not through one. */
export function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  const half = /[\ud800-\udbff]/.test(text.charAt(most - 1)) ? 1 : 0;
  return text.slice(0, most - half);
}

const numbers = new Intl.NumberFormat("en");
export const count = (n: number): string => numbers.format(n);

/** A number of bytes for people. */
export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  return n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : `${(n / 1e6).toFixed(1)} MB`;
}

/** A word for a POSIX shell. */
export const shellWord = (text: string): string => (/^[\w./:=@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
