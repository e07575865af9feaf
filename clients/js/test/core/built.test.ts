// The client with its private names shortened, as it is published: tests of the sources cannot see what that breaks.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
// @ts-expect-error: a script without types
import { entries, modules } from "../../scripts/build.mjs";

let folder = "";
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ackwire-built-"));
  writeFileSync(join(folder, "package.json"), '{"type":"module","sideEffects":false}');
  await modules({ outdir: folder, sourcemap: false });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("submit, watch, mine, questions over HTTP, big integers, retry, errors and close", async () => {
  writeFileSync(join(folder, "app.js"), `
    import { AckwireError, connect } from "./index.js";
    import { deadLetters } from "./operate.js";
    import { createServer } from "./testing.js";
    const said = [];
    const server = createServer();
    server.on("report", async (job) => { job.progress(50); return { rows: 9007199254740993n }; });
    const client = connect({ ...server.options, bigints: "bigint" });
    const mine = client.mine();
    const first = mine.next();
    await client.get("none").catch((error) => said.push(error instanceof AckwireError, error.code));
    await deadLetters(client).catch((error) => said.push(error instanceof AckwireError, error.code));
    const job = await client.submit("report", { a: 1 });
    for await (const { state } of job) if (state === "completed") said.push(state);
    said.push(String((await job.result()).rows), (await job.get()).state, (await client.list()).jobs.length);
    said.push((await first).value.jobId === job.id);
    await mine.return();
    const unsubscribe = client.job(job.id).subscribe(() => {});
    said.push(await job.retry());
    unsubscribe();
    await client.submit("report", 1, { signal: AbortSignal.abort("enough") }).catch((error) => said.push(error));
    await client.close();
    await client.stats().catch((error) => said.push(error.code));
    console.log(JSON.stringify(said));
  `);
  const printed = execFileSync(process.execPath, [join(folder, "app.js")], { encoding: "utf8", timeout: 20_000 });
  expect(JSON.parse(printed)).toEqual([
    true, "not_found", true, "not_found", "completed", "9007199254740993", "completed", 1, true, expect.stringMatching(/./), "enough", "closed",
  ]);
}, 30_000);

test("a bundler has nothing to warn of", async () => {
  const text = Object.keys(entries).map((name) => `export * as ${name} from "./${name}.js";`).join("");
  const { warnings } = await build({
    stdin: { contents: text, resolveDir: folder }, bundle: true, format: "esm", packages: "external", write: false,
    logLevel: "silent",
  });
  expect(warnings.map((warning) => warning.text)).toEqual([]);
});
