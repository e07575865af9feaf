// Tokens of users, and tokens that end when a test wants it.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { run } from "./process.js";

const leeway = 30; // seconds for which a gateway takes a token after its end, since clocks differ

/** Makes a token of a user with the key in a folder. `more` are flags of `ackwire token`. */
export const mint = async (keys: string, tenant: string, subject: string, ...more: string[]): Promise<string> =>
  (await run("ackwire", "token", "--data", keys, "--tenant", tenant, "--subject", subject, ...more)).trim();

/** Returns the token as one that the gateway takes until a time, in milliseconds. `key` is the file of the key. */
export function endingAt(token: string, time: number, key: string): string {
  const [head, claims] = token.split(".") as [string, string];
  const body = { ...(JSON.parse(Buffer.from(claims, "base64url").toString()) as object), exp: Math.floor(time / 1000) - leeway };
  const signed = `${head}.${Buffer.from(JSON.stringify(body)).toString("base64url")}`;
  return `${signed}.${createHmac("sha256", readFileSync(key)).update(signed).digest("base64url")}`;
}
