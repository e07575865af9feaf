// The README is true: its examples compile, and its tables name what there is.

import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const text = (name: string) => readFileSync(root + name, "utf8");
const readme = text("README.md");

/** The text below a heading, up to the next one of its level or above. */
function section(heading: string): string {
  const level = /^#+/.exec(heading)![0].length;
  const from = readme.indexOf(`\n${heading}\n`);
  if (from < 0) throw new Error(`the README has no heading ${heading}`);
  const rest = readme.slice(from + heading.length + 2);
  const end = rest.search(new RegExp(`^#{1,${level}} `, "m"));
  return end < 0 ? rest : rest.slice(0, end);
}

/** The rows of the table whose first heading is given, without the heading. */
function rows(heading: string, within = readme): string[] {
  const from = within.indexOf(`| ${heading} |`);
  if (from < 0) throw new Error(`there is no table ${heading}`);
  return within.slice(from).split("\n\n")[0]!.trim().split("\n").slice(2);
}

/** The names in the first cells of rows. */
const names = (table: string[]) =>
  table.flatMap((row) => [...row.split("|")[1]!.matchAll(/`(\w+)/g)].map(([, name]) => name!)).sort();

/** The names that a module exports. */
function exportsOf(file: string): string[] {
  const source = text(file);
  const found: string[] = [];
  const named = /^export (?:async )?(?:function|const|class|interface|type) (\w+)/gm;
  for (const [, name] of source.matchAll(named)) found.push(name!);
  for (const [, list] of source.matchAll(/^export (?:type )?\{([^}]*)\}/gm)) {
    found.push(...list!.split(",").map((name) => name.trim().split(" ").at(-1)!).filter(Boolean));
  }
  for (const [, from] of source.matchAll(/^export (?:type )?\* from "\.\/(.+)\.js"/gm)) {
    found.push(...exportsOf(join(file, "..", `${from}.ts`)));
  }
  return found.sort();
}

/** The members of an interface. */
function members(file: string, name: string): string[] {
  const source = text(file);
  const from = source.search(new RegExp(`^export interface ${name}\\b`, "m"));
  const body = source.slice(from, source.indexOf("\n}", from));
  return [...body.matchAll(/^  (?:readonly )?(\w+)\??[:(<]/gm)].map(([, member]) => member!);
}

describe("its tables name every export and no other", () => {
  const entries = JSON.parse(text("package.json")).exports as Record<string, unknown>;
  test.each(Object.keys(entries).filter((entry) => !entry.endsWith(".json")))("of %s", (entry) => {
    const name = entry.slice(2);
    const listed = names(rows("export", section(`### \`ackwire${name && `/${name}`}\``)));
    expect(listed).toEqual(exportsOf(name ? `src/${name}/index.ts` : "src/index.ts"));
  });
});

test.each([
  ["`connect`", "src/types.ts", "ConnectOptions"],
  ["`submit`", "src/types.ts", "SubmitOptions"],
  ["`offline`", "src/offline/outbox.ts", "OutboxOptions"],
])("its table of the options of %s names each", (heading, file, name) => {
  expect(names(rows(heading, section("## Options")))).toEqual(members(file, name).sort());
});

test.each([
  ["client", "Ackwire", []],
  ["job", "Job", ["subscribe", "snapshot"]],
])("its table of the %s names each method", (heading, name, more) => {
  const listed = rows(heading, section("## API")).join("\n");
  const wanted = [...members("src/types.ts", name), ...more];
  expect(wanted.length).toBeGreaterThan(5);
  for (const member of wanted) expect(listed).toMatch(new RegExp(`\\b${member}\\b`));
});

test("its sizes are those that the build allows", () => {
  const names: Record<string, string> = { index: "`ackwire`", published: "`ackwire`, without a bundler" };
  const limits = /const limits = \{(.+)\}/.exec(text("scripts/size.mjs"))![1]!;
  const allowed = [...limits.matchAll(/(\w+): (\d+)/g)].map(([, name, bytes]) =>
    [names[name!] ?? `\`ackwire/${name}\``, (Number(bytes) / 1000).toFixed(1)]);
  const listed = rows("entry point", section("## Sizes")).map((row) => /(`.+) \| (.+) kB/.exec(row)!.slice(1));
  expect(listed).toEqual(allowed);
});

test("its examples compile", { timeout: 120_000 }, async () => {
  mkdirSync(join(root, "node_modules"), { recursive: true });
  const folder = mkdtempSync(join(root, "node_modules/.readme-")); // where packages are found
  try {
    const files = [join(root, "test/readme/around.d.ts")];
    const blocks = [...readme.matchAll(/^```(tsx?)\n([^]*?)^```$/gm)];
    expect(blocks.length).toBeGreaterThan(10);
    for (const { 0: block, 1: language, 2: code, index } of blocks) {
      const line = readme.slice(0, index).split("\n").length;
      expect(block).toContain("import "); // it stands for itself
      files.push(join(folder, `README-line-${line}.${language}`));
      writeFileSync(files.at(-1)!, code!);
    }
    // An example that fills Jobs would fill it for all: it is compiled by itself.
    const typed = files.filter((file) => readFileSync(file, "utf8").includes('declare module "ackwire" {'));
    expect(typed).toHaveLength(1);
    const said = [];
    for (const group of [files.filter((file) => !typed.includes(file)), [files[0]!, ...typed]]) {
      const config = join(folder, "tsconfig.json");
      writeFileSync(config, JSON.stringify({
        extends: join(root, "tsconfig.test.json"),
        compilerOptions: {
          rootDir: root, noUnusedLocals: false,
          paths: { ackwire: [join(root, "src/index.ts")], "ackwire/*": [join(root, "src/*/index.ts")] },
        },
        files: group, include: [], exclude: [],
      }));
      said.push(await compile(config));
    }
    expect(said).toEqual(["", ""]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Runs the compiler and returns what it says. */
const compile = (config: string) => new Promise<string>((resolve) => {
  execFile(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "--noEmit", "-p", config],
    (error, stdout, stderr) => resolve(stdout + stderr + (error && !stdout ? String(error) : "")));
});
