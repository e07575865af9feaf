// Measures the client in Chromium beside a bare WebSocket with JSON.parse, and beside centrifuge, in one run and by
// turns: CPU per status, the time to connect, the time from `online` to caught up, and bytes. `npm run bench`.

import { build } from "esbuild";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { Server } from "./server.mjs";

const jobs = Array.from({ length: 1000 }, (_, i) => `00000000-0000-7000-8000-${String(i).padStart(12, "0")}`);
const rounds = Number(process.argv[2] ?? 5);
const names = ["ours", "bare", "centrifuge"];

const bundle = await build({
  entryPoints: [fileURLToPath(new URL("page.ts", import.meta.url))], bundle: true, format: "esm", write: false, target: "es2022",
});
const browser = await chromium.launch({
  executablePath: process.env.ACKWIRE_CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
const results = Object.fromEntries(names.map((n) => [n, { cpu: [], connect: [], resume: [], up: [], down: [] }]));

for (let round = 0; round < rounds; round++) {
  for (const name of names) {
    const server = new Server();
    await server.start(bundle.outputFiles[0].text);
    const page = await browser.newPage();
    await page.goto(server.url);
    await page.waitForFunction(() => window.bench);
    const cdp = await page.context().newCDPSession(page);
    await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
    const cpu = async () => (await cdp.send("Performance.getMetrics")).metrics.find((m) => m.name === "TaskDuration").value;
    const r = results[name];

    r.connect.push(await page.evaluate(([n, u, j]) => window.bench.follow(n, u, j), [name, server.url, jobs.length]));
    r.up.push(server.received);
    r.down.push(server.sent);

    const before = await cpu();
    const told = await server.publish(jobs, 1000, 5);
    r.cpu.push(((await cpu()) - before) / told * 1e6);

    // Cut while nothing can be opened; then the network is back, and each job has changed.
    server.down = true;
    server.cut();
    server.version += 10;
    await new Promise((resolve) => setTimeout(resolve, 300));
    server.down = false;
    r.resume.push(await page.evaluate((v) => window.bench.resume(v), server.version));
    await page.close();
    server.stop();
  }
}
await browser.close();

const median = (a) => [...a].sort((x, y) => x - y)[Math.floor(a.length / 2)];
const rows = [["", ...names, "ours/bare", "ours/centrifuge"]];
for (const [key, title, digits] of [
  ["cpu", "CPU per status, µs", 1], ["connect", "connect to 1,000 first statuses, ms", 0],
  ["resume", "online to caught up, 1,000 watches, ms", 0], ["up", "bytes sent until then", 0], ["down", "bytes received until then", 0],
]) {
  const m = Object.fromEntries(names.map((n) => [n, median(results[n][key])]));
  rows.push([title, ...names.map((n) => m[n].toFixed(digits)), (m.ours / m.bare).toFixed(2), (m.ours / m.centrifuge).toFixed(2)]);
}
console.log(`medians of ${rounds} rounds\n`);
for (const row of rows) console.log(row[0].padEnd(44) + row.slice(1).map((c) => c.padStart(16)).join(""));
