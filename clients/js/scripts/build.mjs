// Builds the package into dist: a module per entry point, chunks that they share, and declarations.
//
// Members whose names end in _ are private: their names are shortened, alike in all modules.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The entry points, by their names in dist; those that are not written yet are left out. */
export const entries = Object.fromEntries(
  Object.entries({
    index: ["src/index.ts"],
    react: ["src/react/index.ts", "src/react/index.tsx"],
    offline: ["src/offline/index.ts"],
    tabs: ["src/tabs/index.ts"],
    operate: ["src/operate/index.ts"],
    testing: ["src/testing/index.ts"],
  }).flatMap(([name, files]) => files.filter((file) => existsSync(root + file)).map((file) => [name, root + file])),
);

/** What esbuild is told; `outdir` may be another, for a look at the sizes. */
export const options = {
  absWorkingDir: root,
  entryPoints: entries,
  outdir: "dist",
  bundle: true,
  splitting: true,
  chunkNames: "chunks/[name]-[hash]",
  format: "esm",
  platform: "neutral",
  target: "es2022",
  packages: "external",
  minify: true,
  mangleProps: /[^_]_$/,
  sourcemap: true,
  sourcesContent: false,
  legalComments: "none",
  logLevel: "warning",
};

/** Writes the modules; `changes` are to the options. */
export async function modules(changes = {}) {
  const { metafile } = await build({ ...options, ...changes, metafile: true });
  for (const output of Object.keys(metafile.outputs).filter((name) => name.endsWith(".js"))) {
    // No module here has side effects: one that is imported for nothing is not needed, and bundlers warn of the import.
    // Blanks in its place keep the columns that the source map speaks of.
    const text = readFileSync(root + output, "utf8");
    writeFileSync(root + output, text.replace(/\bimport"\.[^"]*";/g, (bare) => " ".repeat(bare.length)));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(root + "dist", { recursive: true, force: true });
  await modules();
  execFileSync("npx", ["tsc", "-p", "tsconfig.json", "--emitDeclarationOnly"], { cwd: root, stdio: "inherit" });
}
