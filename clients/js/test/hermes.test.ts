// The client in Hermes, the engine of React Native.
//
// Metro, React Native's bundler, translates a package before the engine sees it. So the bundle is held in two ways: as
// it is published the compiler of today's Hermes parses it; and translated to ES5, as for old engines, it runs in the
// one virtual machine that is on npm (0.12).

import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transformSync } from "@swc/core";
import { build, type BuildOptions } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

// @ts-expect-error the scripts have no types
import { entries, options } from "../scripts/build.mjs";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const systems: Record<string, [string, string]> = { darwin: ["osx", ""], win32: ["win64", ".exe"] };
const [system, suffix] = systems[process.platform] ?? ["linux64", ""];
const compiler = here(`../node_modules/hermes-compiler/hermesc/${system}-bin/hermesc${suffix}`);
const machine = here(`../node_modules/hermes-engine-cli/${system}-bin/hermes${suffix}`);

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "ackwire-hermes-"));
  for (const program of [compiler, machine]) chmodSync(program, 0o755); // npm may leave out the mode
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Bundles a module into one script, with the options of the published build. */
async function bundle(entry: string): Promise<string> {
  const { splitting: _, chunkNames: __, outdir: ___, entryPoints: ____, ...rest } = options as BuildOptions;
  const { outputFiles } = await build({
    ...rest, entryPoints: [entry], outfile: "bundle.js", format: "iife", sourcemap: false, write: false,
  });
  return outputFiles?.[0]?.text ?? "";
}

function script(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

describe("as it is published, today's compiler takes", () => {
  test.each(Object.entries(entries as Record<string, string>))("%s", async (name, entry) => {
    const path = script(`${name}.js`, await bundle(entry));
    execFileSync(compiler, ["-w", "-O", "-emit-binary", "-out", join(folder, `${name}.hbc`), path], { stdio: "pipe" });
  }, 60_000);
});

test("a job is submitted over a scripted socket and followed to its end", async () => {
  const text = await bundle(here("hermes/app.ts"));
  const { code } = transformSync(text, { isModule: false, jsc: { target: "es5", parser: { syntax: "ecmascript" } } });
  const platform = readFileSync(here("hermes/platform.js"), "utf8");
  const path = script("app.js", `${platform}\n${code}`);
  const printed = execFileSync(machine, ["-w", path], { encoding: "utf8", timeout: 60_000, stdio: "pipe" });
  expect(printed.trim().split("\n")).toEqual([
    "dialled with ackwire.v1 ackwire.bearer.t",
    "sent report.generate with a key of 32 characters",
    "acked job-of-report.generate",
    "status 1 processing",
    "status 2 completed",
    'result {"rows":31}',
    "error true true invalid_state",
    "sent report.mail with a key of 32 characters",
    "outbox job-of-report.mail 0",
    "closed closed 1",
  ]);
}, 60_000);
