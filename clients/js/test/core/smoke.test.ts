// The client against the server in memory, from submit to result.

import { expect, test } from "vitest";
import { connect } from "../../src/index.js";
import { createServer } from "../../src/testing/index.js";

test("a job is submitted, followed to its end, and its result read", async () => {
  const server = createServer();
  const ackwire = connect(server.options);
  server.on("report.generate", (job) => {
    job.progress(50);
    return { rows: 31 };
  });
  const job = await ackwire.submit("report.generate", { a: 1 });
  const versions: number[] = [];
  for await (const status of job) versions.push(status.version);
  expect(versions.length).toBeGreaterThan(0);
  expect(versions).toEqual([...versions].sort((a, b) => a - b));
  expect(await job.result()).toEqual({ rows: 31 });
  expect((await ackwire.get(job.id)).state).toBe("completed");
  expect((await ackwire.list()).jobs).toHaveLength(1);
  await ackwire.close();
});
