// The page and the gateway have one origin: Vite passes /v1 on, WebSockets too, so that no origin has to be allowed.

import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const proxy = { "/v1": { target: process.env["ACKWIRE_URL"] ?? "http://127.0.0.1:8080", ws: true } };

export default defineConfig({
  plugins: [react()],
  // The package is a link to a folder that has a React of its own, for its tests.
  resolve: { dedupe: ["react", "react-dom"] },
  server: { proxy },
  preview: { proxy },
});
