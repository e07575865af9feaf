// Holds the sizes of the entry points: minified and compressed with gzip, in bytes (1 kB = 1,000 bytes).
//
// Each is bundled once more from what the build makes, as a program's bundler does. What is loaded later by import()
// does not count; of an entry point beside the core, what it shares with the core does not count either. The core is
// also measured as it is published, for pages without a bundler: there each file is compressed by itself, and those
// that are shared with code that is loaded later are loaded whole. Exits with 1 when one is too large.

import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { entries, options } from "./build.mjs";

// The goal of the core is 6,000 bytes; the limit keeps what has been reached.
const limits = { index: 7300, published: 8700, react: 1500, offline: 2500, tabs: 2020, operate: 3000 };

const { metafile, outputFiles } = await build({ ...options, sourcemap: false, metafile: true, write: false });
const { absWorkingDir } = options;
const texts = Object.fromEntries(outputFiles.map((file) => [file.path, file.text]));

/** The outputs that an entry point imports at once, its own included. */
function closure(output, seen = new Set()) {
  if (seen.has(output)) return seen;
  seen.add(output);
  for (const { path, kind, external } of metafile.outputs[output].imports) {
    if (kind === "import-statement" && !external) closure(path, seen);
  }
  return seen;
}

const core = closure("dist/index.js");

/** Bundles an entry point from the built modules. */
async function bundle(entry) {
  const outside = entry === "dist/index.js" ? new Set() : core;
  const { outputFiles: [file] } = await build({
    ...options, entryPoints: [absWorkingDir + entry], splitting: false, sourcemap: false, write: false,
    mangleProps: undefined, chunkNames: undefined,
    plugins: [{
      name: "built",
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^[./]/ }, ({ path, importer, kind }) => {
          const full = kind === "entry-point" ? path : new URL(path, "file://" + importer).pathname;
          const external = kind === "dynamic-import" || outside.has(full.slice(absWorkingDir.length));
          return external ? { path, external } : { path: full };
        });
        onLoad({ filter: /./ }, ({ path }) => ({ contents: texts[path], resolveDir: absWorkingDir }));
      },
    }],
  });
  return Buffer.from(file.contents);
}

const compressed = (text) => gzipSync(text, { level: 9 }).length;

let failed = false;
for (const name of Object.keys(entries)) {
  const all = await bundle(`dist/${name}.js`);
  const size = compressed(all);
  const limit = limits[name];
  console.log(`${name}: ${size} bytes${limit ? ` of ${limit}` : ""} (minified ${all.length})`);
  if (size > limit) failed = true;
}
const published = [...core].reduce((sum, output) => sum + compressed(texts[absWorkingDir + output]), 0);
console.log(`index without a bundler: ${published} bytes of ${limits.published}, in ${core.size} files`);
if (published > limits.published) failed = true;
for (const [output, { bytes }] of Object.entries(metafile.outputs)) {
  if (!output.includes("chunks/")) continue;
  console.log(`  ${output}: ${compressed(texts[absWorkingDir + output])} bytes (minified ${bytes})`);
}
if (failed) {
  console.error("an entry point is above its limit");
  process.exit(1);
}
