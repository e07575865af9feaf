// What operators do: paths, methods and identity, errors, and clients that are none.

import { expect, test } from "vitest";
import { AckwireError, connect, type Ackwire } from "../src/index.js";
import { deadLetter, deadLetters, jobTypes, requeue } from "../src/operate/index.js";
import { createServer } from "../src/testing/index.js";

interface Asked {
  url: string;
  method: string | undefined;
  token: string | undefined;
  body: unknown;
}

/** A client whose fetch answers with these, one after the other; the last one stays. */
function asking(answers: (Response | Error)[], options = {}) {
  const asked: Asked[] = [];
  const fetch = (async (url: string, { headers, method, body, signal }: RequestInit = {}) => {
    asked.push({ url, method, token: (headers as Record<string, string>).Authorization, body });
    const answer = answers.length > 1 ? answers.shift()! : answers[0]!;
    if (signal?.aborted) throw signal.reason;
    if (answer instanceof Error) throw answer;
    return answer.clone();
  }) as typeof globalThis.fetch;
  return { client: connect({ url: "https://jobs.example/base?x=1", token: "secret", transports: [], fetch, ...options }), asked };
}

const json = (body: unknown, status = 200) => new Response(typeof body === "string" ? body : JSON.stringify(body), { status });
const base = "https://jobs.example/base/v1/";

test("paths, methods and identity; nothing else is asked", async () => {
  const { client, asked } = asking([json({ letters: [], nextCursor: "0-1" }), json({ id: "0-41" }), json({ outcome: "dispatched", jobId: "j" }, 202), json({ jobTypes: [{ type: "t" }] }), json({ letters: [] })]);
  expect(await deadLetters(client, { limit: 5, cursor: "0&4" })).toEqual({ letters: [], nextCursor: "0-1" });
  expect(await deadLetter(client, "0-41")).toEqual({ id: "0-41" });
  expect(await requeue(client, "../0-41")).toEqual({ outcome: "dispatched", jobId: "j" });
  expect(await jobTypes(client)).toEqual([{ type: "t" }]);
  await deadLetters(client);
  expect(asked.map(({ url, method, body }) => [method, url.replace(base, ""), body])).toEqual([
    ["GET", "dead?limit=5&cursor=0%264", undefined],
    ["GET", "dead/0-41", undefined],
    ["POST", "dead/..%2F0-41/requeue", undefined],
    ["GET", "job-types", undefined],
    ["GET", "dead", undefined],
  ]);
  expect(new Set(asked.map((a) => a.token))).toEqual(new Set(["Bearer secret"]));
  expect(client.connection.snapshot().state).toBe("idle"); // no session was opened
});

test("a token that has ended is renewed once, and big integers stay whole", async () => {
  const tokens = ["old", "new"];
  const { client, asked } = asking(
    [json({ code: "unauthenticated" }, 401), json('{"letters":[],"n":9007199254740993}')],
    { token: async () => tokens.shift()!, bigints: "bigint" },
  );
  expect(await deadLetters(client)).toEqual({ letters: [], n: 9007199254740993n });
  expect(asked.map((a) => a.token)).toEqual(["Bearer old", "Bearer new"]);
});

test("refusals and unreachable servers are errors of the client", async () => {
  const refused = { code: "forbidden", detail: "it needs the permission operate" };
  const { client } = asking([json(refused, 403), new TypeError("no network"), json("[]"), json({})]);
  const failed = async (asked: Promise<unknown>) => {
    const error = await asked.then(() => undefined, (error: unknown) => error);
    expect(error).toBeInstanceOf(AckwireError);
    return (error as AckwireError).code;
  };
  expect(await failed(deadLetters(client))).toBe("forbidden");
  expect(await failed(requeue(client, "0-1"))).toBe("unavailable");
  await expect(deadLetter(client, "0-1")).resolves.toEqual([]); // any object that the server sends is passed on
  await expect(deadLetters(client, { signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
  await client.close();
  expect(await failed(jobTypes(client))).toBe("closed");
});

test("a server in memory answers, and an object that is no client is refused", async () => {
  const server = createServer();
  await expect(deadLetters(connect(server.options))).rejects.toMatchObject({ code: "not_found" });
  const none = { get: async () => undefined } as unknown as Ackwire;
  await expect(deadLetters(none)).rejects.toThrow(/a client that connect\(\) has made/);
});
