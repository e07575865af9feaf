// Workers, webhooks and the audit trail: paths, parameters and identity.

import { expect, test } from "vitest";
import { connect } from "../src/index.js";
import { audit, system, webhooks, workers } from "../src/operate/index.js";

test("each question has its path, its parameters and the client's token", async () => {
  const asked: string[] = [];
  const fetch = (async (url: string, { headers, method }: RequestInit = {}) => {
    asked.push(`${method} ${url.replace("https://jobs.example/v1/", "")} ${(headers as Record<string, string>).Authorization}`);
    return new Response('{"workers":[],"endpoints":[],"records":[]}');
  }) as typeof globalThis.fetch;
  const client = connect({ url: "https://jobs.example", token: "secret", transports: [], fetch });
  const since = new Date("2026-01-02T03:04:05Z");
  expect(await workers(client)).toEqual({ workers: [], endpoints: [], records: [] });
  await system(client);
  await webhooks(client);
  await webhooks(client, { tenant: "a&b", since });
  await audit(client);
  await audit(client, { since: "2026-01-02T03:04:05Z", limit: 5, cursor: "0-7" });
  expect(asked).toEqual([
    "GET workers", "GET system", "GET webhooks", "GET webhooks?tenant=a%26b&since=2026-01-02T03%3A04%3A05.000Z", "GET audit",
    "GET audit?since=2026-01-02T03%3A04%3A05Z&limit=5&cursor=0-7",
  ].map((line) => line + " Bearer secret"));
  await expect(workers(client, { signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
});
