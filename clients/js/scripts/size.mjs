// Holds the sizes of the entry points: minified and compressed with gzip, in bytes (1 kB = 1,000 bytes).
//
// The core is index.js with all that it imports; what it loads later by import() does not count. Another entry point is
// what it adds to the core. Exits with 1 when one is too large.

import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { entries, options } from "./build.mjs";

const limits = { index: 6000, react: 1500, offline: 2500, tabs: 2000 };

const { metafile, outputFiles } = await build({ ...options, sourcemap: false, metafile: true, write: false });
const texts = Object.fromEntries(outputFiles.map((file) => [file.path, file.contents]));
const textOf = (output) => texts[Object.keys(texts).find((path) => path.endsWith("/" + output))];

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
let failed = false;
for (const name of Object.keys(entries)) {
  const outputs = [...closure(`dist/${name}.js`)].filter((output) => name === "index" || !core.has(output));
  // Compressed together, as a bundler would deliver them.
  const all = Buffer.concat(outputs.map(textOf));
  const size = gzipSync(all, { level: 9 }).length;
  const limit = limits[name];
  console.log(`${name}: ${size} bytes${limit ? ` of ${limit}` : ""} (minified ${all.length})`);
  if (size > limit) failed = true;
}
for (const [output, { bytes }] of Object.entries(metafile.outputs)) {
  if (output.includes("chunks/")) console.log(`  ${output}: ${gzipSync(textOf(output), { level: 9 }).length} bytes (minified ${bytes})`);
}
if (failed) {
  console.error("an entry point is above its limit");
  process.exit(1);
}
