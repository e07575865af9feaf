// The page and the gateway have one origin: Vite passes /v1 on, WebSockets too, so that no origin has to be allowed.

import react from "@vitejs/plugin-react";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

const proxy = { "/v1": { target: process.env["ACKWIRE_URL"] ?? "http://127.0.0.1:8080", ws: true } };

/** Adds the service worker to the build, with the names of all its files. */
const worker: Plugin = {
  name: "worker",
  apply: "build",
  generateBundle: {
    order: "post",
    handler(_, bundle) {
      const hash = createHash("sha256");
      const names = Object.keys(bundle).sort();
      for (const name of names) {
        const file = bundle[name]!;
        hash.update(name).update(file.type === "chunk" ? file.code : file.source);
      }
      const files = names.map((name) => (name === "index.html" ? "./" : name));
      const source = readFileSync(new URL("worker.js", import.meta.url), "utf8")
        .replace("FILES", JSON.stringify(files))
        .replace("BUILD", JSON.stringify(hash.digest("hex").slice(0, 16)));
      this.emitFile({ type: "asset", fileName: "worker.js", source });
    },
  },
};

export default defineConfig({
  plugins: [react(), worker],
  // The package is a link to a folder that has a React of its own, for its tests.
  resolve: { dedupe: ["react", "react-dom"] },
  server: { proxy },
  preview: { proxy },
});
