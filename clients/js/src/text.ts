// Small things about text.

/** How many bytes a text has in UTF-8; only compared with a limit, so that most texts are not counted. */
export const fits = (text: string, limit: number): boolean =>
  text.length * 3 <= limit ||
  text.replace(/[\x80-\u07ff\ud800-\udfff]/g, "xx").replace(/[\u0800-\uffff]/g, "xxx").length <= limit;

/** Makes 32 random hexadecimal digits. */
export function random(): string {
  const bytes = new Uint8Array(16);
  // React Native has no crypto without a polyfill. Keys must not repeat; nothing depends on their being secret.
  const filled = globalThis.crypto?.getRandomValues(bytes) ?? bytes.map(() => Math.random() * 256);
  return Array.from(filled, (byte) => (byte + 256).toString(16).slice(1)).join("");
}

export const quote = JSON.stringify as (value: unknown) => string;

const gateway = /^(?:http|ws)(s?)(:\/\/[^/?#]+[^?#]*?)(?:\/v1\/ws)?\/*(\?[^#]*)?$/i;

/** Splits the gateway's address into its base, an http or https address, and its query. Throws a TypeError. */
export function splitURL(url: string | undefined): [base: string, query: string] {
  const found = gateway.exec(url ?? globalThis.location?.origin ?? "");
  if (!found) throw new TypeError("no http or ws address: " + url);
  return ["http" + found[1]!.toLowerCase() + found[2], found[3] ?? ""];
}
