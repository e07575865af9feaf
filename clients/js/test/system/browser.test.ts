// The client in real Chromium, against real processes of Ackwire that are killed. Each test ends the same way: every
// submit became exactly one job, every watch ended with the terminal status and rose, and loadtest's checker agrees.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { allEnded, Chromium, list, tabOf, type Tab } from "./lib/browser.js";
import { History } from "./lib/history.js";
import { serve, twoGateways, until, type System } from "./lib/process.js";
import { mint } from "./lib/tokens.js";
import { Proxy } from "./lib/proxy.js";

const chromium = new Chromium();
beforeAll(() => chromium.start());
afterAll(() => chromium.stop());

/** What a test has started, newest first. */
let cleanups: (() => Promise<unknown>)[] = [];
beforeEach(() => { cleanups = []; });
afterEach(async () => { for (const c of cleanups.reverse()) await c(); });

/** A system with a network in front of it, and a profile of the browser. */
async function setUp(scenario: string, system: System, token?: (user: string) => Promise<string>) {
  cleanups.push(() => system.stop());
  const network = await new Proxy(system.gateways).start();
  cleanups.push(() => network.stop());
  const history = new History(scenario);
  const context = await chromium.profile(history, token);
  cleanups.push(() => context.close());
  return { system, network, history, context, url: `http://${network.address}` };
}

const numbers = (n: number, from = 0) => Array.from({ length: n }, (_, i) => i + from);

/** Each payload became exactly one job of demo.echo, whose result is the payload. */
async function expectOneJobEach(payloads: number[], system: System, token?: string): Promise<void> {
  const jobs = await list(system.gateways[0]!, "demo.echo", token);
  expect(jobs.map((j) => j.result as number).sort((a, b) => a - b)).toEqual(payloads);
}

/** Sessions that a gateway has open, from its metrics. */
async function sessions(ops: string): Promise<number> {
  const text = await fetch(`http://${ops}/metrics`).then((r) => r.text());
  const line = /^ackwire_gateway_sessions(?:\{[^}]*\})? ([0-9.e+]+)$/m.exec(text);
  return Number(line?.[1] ?? NaN);
}

test("a page sleeps for ten minutes and wakes", async () => {
  const s = await setUp("sleep", await serve());
  const tab = await chromium.tab(s.context, (page) => page.clock.install());
  await tab.open({ url: s.url });
  await tab.submit("demo.sleep", Array.from({ length: 40 }, () => ({ seconds: 3, steps: 3 })));
  await until("all acked", async () => (await tab.seen()).acked.length === 40);

  const cdp = await s.context.newCDPSession(tab.page);
  await cdp.send("Page.setWebLifecycleState", { state: "frozen" });
  s.history.fault("the page sleeps");
  s.network.stall(); // connections die without a word while a machine sleeps
  await until("the jobs end meanwhile", async () =>
    (await list(s.system.gateways[0]!, "demo.sleep")).filter((j) => j.state === "completed").length === 40);
  await cdp.send("Page.setWebLifecycleState", { state: "active" });
  await tab.page.clock.fastForward("10:00");
  await tab.page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));

  await allEnded([tab]);
  await s.history.judge(s.system.gateways[0]!);
});

test("the network goes off and on", async () => {
  const s = await setUp("offline", await serve());
  const tab = await chromium.tab(s.context);
  await tab.open({ url: s.url });
  for (let round = 0; round < 3; round++) {
    await tab.submit("demo.echo", numbers(30, round * 60));
    await s.context.setOffline(true);
    s.network.fail();
    s.history.fault("the network is off");
    await tab.submit("demo.echo", numbers(30, round * 60 + 30));
    await until("the client notices", async () => (await tab.seen()).connection !== "open");
    s.network.mend();
    await s.context.setOffline(false);
  }
  await allEnded([tab]);
  await expectOneJobEach(numbers(180), s.system);
  await s.history.judge(s.system.gateways[0]!);
});

test("the server is killed with 100 submits in flight and comes back", async () => {
  const s = await setUp("kill", await serve());
  const tab = await chromium.tab(s.context);
  await tab.open({ url: s.url });
  await tab.submit("demo.echo", numbers(20));
  await allEnded([tab]);
  await tab.submit("demo.echo", numbers(100, 20));
  s.history.fault("kill -9");
  await s.system.processes[0]!.kill();
  await s.system.processes[0]!.start();
  await allEnded([tab]);
  await expectOneJobEach(numbers(120), s.system);
  await s.history.judge(s.system.gateways[0]!);
});

test("two gateways are restarted one after the other", async () => {
  const s = await setUp("rolling", await twoGateways());
  const tab = await chromium.tab(s.context);
  await tab.open({ url: s.url });
  let sent = 0, rolling = true;
  const submitting = (async () => {
    while (rolling) {
      await tab.submit("demo.echo", numbers(10, sent));
      sent += 10;
      await until("acks go on", async () => (await tab.seen()).acked.length >= sent - 50);
    }
  })();
  for (const gateway of s.system.processes.slice(0, 2)) {
    s.history.fault("a gateway is restarted");
    await gateway.kill("SIGTERM");
    await gateway.start();
  }
  rolling = false;
  await submitting;
  await allEnded([tab]);
  await expectOneJobEach(numbers(sent), s.system);
  await s.history.judge(s.system.gateways[0]!);
});

test("a page is loaded again with 20 unsent submits", async () => {
  const s = await setUp("reload", await serve());
  const tab = await chromium.tab(s.context);
  await tab.open({ url: s.url, offline: true });
  s.network.fail();
  s.history.fault("the network is off");
  await tab.submit("demo.echo", numbers(20));
  await until("all are stored", async () => (await tab.seen()).pending === 20);
  await tab.page.reload();
  s.network.mend();
  const again = tabOf(tab.page);
  await again.open({ url: s.url, offline: true });
  await until("all are sent", async () => (await list(s.system.gateways[0]!, "demo.echo")).length === 20);
  await until("none is pending", async () => (await again.seen()).pending === 0);
  await again.watch(s.history.acked());
  await until("all ended", async () => Object.keys((await again.seen()).ended).length === 20);
  await allEnded([again]);
  await expectOneJobEach(numbers(20), s.system);
  await s.history.judge(s.system.gateways[0]!);
});

test.each([["closed", 2], ["crashed", 2], ["closed", 20], ["crashed", 20]] as const)(
  "the first tab is %s, of %i tabs on one socket", async (how, count) => {
    const s = await setUp(`tabs ${how}`, await serve());
    const ops = s.system.processes[0]!.ready;
    const all: Tab[] = [];
    for (let i = 0; i < count; i++) {
      const tab = await chromium.tab(s.context);
      await tab.open({ url: s.url, tabs: true });
      await tab.submit("demo.echo", numbers(5, i * 5));
      all.push(tab);
    }
    await allEnded(all);
    expect(await sessions(ops)).toBe(1);

    const [leader, ...rest] = all as [Tab, ...Tab[]];
    s.history.fault(`the leader's tab is ${how}`);
    const gone = how === "closed" ? leader.page.close() : (async () => {
      const cdp = await s.context.newCDPSession(leader.page);
      void cdp.send("Page.crash").catch(() => undefined); // a crashed page does not answer
      await new Promise((resolve) => leader.page.once("crash", resolve));
    })();
    await Promise.all(rest.map((tab, i) => tab.submit("demo.echo", numbers(5, count * 5 + i * 5))));
    await gone;
    await allEnded(rest);
    await until("one socket again", async () => (await sessions(ops)) === 1);
    await expectOneJobEach(numbers(count * 5 + rest.length * 5), s.system);
    await s.history.judge(s.system.gateways[0]!);
  },
);

/** Tokens of the server's own key; a user is a tenant of its own here. */
const tokens = (system: System, ttl: string) => (user: string) => mint(system.data, user, user, "--ttl", ttl);

test("a token expires and is renewed", async () => {
  const system = await serve();
  let asked = 0;
  const short = tokens(system, "6s");
  const s = await setUp("token", system, (user) => { asked++; return short(user); });
  const tab = await chromium.tab(s.context);
  await tab.open({ url: s.url, user: "alice" });
  for (let i = 0; i < 4; i++) {
    await tab.submit("demo.sleep", [{ seconds: 5, steps: 5 }]);
    await until("the token is renewed", () => asked > i + 1);
  }
  await allEnded([tab]);
  expect(asked).toBeLessThan(12); // renewed when it is due, not in a loop
  await s.history.judge(s.system.gateways[0]!, await tokens(system, "1m")("alice"));
});

test("another user logs in while submits wait", async () => {
  const system = await serve();
  const token = tokens(system, "10m");
  const [ofAlice, ofBob] = [await token("alice"), await token("bob")];
  const s = await setUp("users", system, token);
  const tab = await chromium.tab(s.context);
  await tab.open({ url: s.url, user: "alice", offline: true });
  s.network.fail();
  await tab.submit("demo.echo", numbers(5));
  await until("all are stored", async () => (await tab.seen()).pending === 5);

  await tab.page.reload();
  s.network.mend();
  const bob = tabOf(tab.page);
  await bob.open({ url: s.url, user: "bob", offline: true });
  expect((await bob.seen()).pending).toBe(0);
  await bob.submit("demo.echo", numbers(5, 100));
  await allEnded([bob]);
  await expectOneJobEach(numbers(5, 100), system, ofBob);
  await expectOneJobEach([], system, ofAlice);

  await tab.page.reload();
  const alice = tabOf(tab.page);
  await alice.open({ url: s.url, user: "alice", offline: true });
  let jobs: unknown;
  await until(() => `all ended; ${JSON.stringify(jobs)}`, async () => {
    const listed = await list(system.gateways[0]!, "demo.echo", ofAlice);
    jobs = [listed, await alice.seen()];
    return listed.filter((j) => j.state === "completed").length === 5;
  }, 60_000);
  await until("none is pending", async () => (await alice.seen()).pending === 0);
  await expectOneJobEach(numbers(5), system, ofAlice);
});
