// What `ackwire types --ts` writes, read by the compiler: the golden file that the test of embedded/cli/tstypes holds.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("the compiler takes the generated types, and they take and refuse the right values", { timeout: 120_000 }, async () => {
  const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const said = await new Promise<string>((resolve) => {
    execFile(
      process.execPath, [path("../node_modules/typescript/bin/tsc"), "--noEmit", "-p", path("types/tsconfig.json")],
      (error, stdout, stderr) => resolve(stdout + stderr + (error && !stdout ? String(error) : "")),
    );
  });
  expect(said).toBe("");
});
