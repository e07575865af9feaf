// Tabs in real Chromium whose leader stops without ending: its page is frozen, or hangs.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { allEnded, Chromium, type Tab } from "./lib/browser.js";
import { History } from "./lib/history.js";
import { serve, type System, until } from "./lib/process.js";

const chromium = new Chromium();
beforeAll(() => chromium.start());
afterAll(() => chromium.stop());

let system: System;
beforeEach(async () => {
  system = await serve();
});
afterEach(() => system.stop());

async function sessions(): Promise<number> {
  const text = await fetch(`http://${system.processes[0]!.ready}/metrics`).then((r) => r.text());
  return Number(/^ackwire_gateway_sessions(?:\{[^}]*\})? ([0-9.e+]+)$/m.exec(text)?.[1] ?? NaN);
}

const title = "the leader's page is %s: the others go on, and it comes back";
test.each(["frozen", "busy for 10 seconds"])(title, async (how) => {
  const history = new History(`tabs ${how}`);
  const context = await chromium.profile(history);
  const all: Tab[] = [];
  for (let i = 0; i < 4; i++) {
    const tab = await chromium.tab(context);
    await tab.open({ url: `http://${system.gateways[0]}`, tabs: true });
    await tab.submit("demo.echo", [i]);
    all.push(tab);
  }
  await allEnded(all);
  expect(await sessions()).toBe(1);

  const [leader, ...rest] = all as [Tab, ...Tab[]];
  history.fault(`the leader's page is ${how}`);
  const cdp = await context.newCDPSession(leader.page);
  let busy: Promise<unknown> | undefined;
  if (how === "frozen") await cdp.send("Page.setWebLifecycleState", { state: "frozen" });
  else {
    busy = leader.page.evaluate(() => {
      for (const end = Date.now() + 10_000; Date.now() < end; );
    });
  }
  const began = Date.now();
  await Promise.all(rest.map((tab, i) => tab.submit("demo.echo", [10 + i])));
  await allEnded(rest);
  expect(Date.now() - began).toBeLessThan(2_000); // the hand-over is within a second; then come the jobs
  if (how === "frozen") await cdp.send("Page.setWebLifecycleState", { state: "active" });
  await busy;
  await leader.submit("demo.echo", [20]);
  await allEnded(all);
  await until("one session for all", async () => (await sessions()) === 1);
  await history.judge(system.gateways[0]!);
  await context.close();
});
