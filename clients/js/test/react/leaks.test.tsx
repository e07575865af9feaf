// @vitest-environment jsdom

// Components that were mounted and unmounted leave nothing behind, whichever hook they use.

import { act, StrictMode, Suspense, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { connect } from "../../src/index.js";
import { AckwireProvider, useConnection, useJob, useJobs, useResult, useSubmit } from "../../src/react/index.js";
import { createServer, type TestServer } from "../../src/testing/index.js";
import type { Ackwire, Store } from "../../src/types.js";
import { growth } from "../heap.js";

let server: TestServer;
let client: Ackwire;
let ended: string; // a job
let running: string;
let listeners = 0; // of stores, that components have

/** Counts the listeners of a store. */
function counted<S extends Store<unknown>>(store: S): S {
  const { subscribe } = store;
  store.subscribe = (changed) => {
    listeners++;
    const stop = subscribe(changed);
    return () => {
      listeners--;
      stop();
    };
  };
  return store;
}

beforeEach(async () => {
  (globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
  server = createServer();
  server.on("quick", () => 1);
  client = connect(server.options);
  counted(client.connection);
  const { job } = client;
  client.job = ((id: string) => counted(job(id))) as typeof job;
  const quick = await client.submit("quick", 1);
  await quick.result();
  ended = quick.id;
  running = (await client.submit("slow", 1, { watch: false })).id;
});
afterEach(async () => {
  await client.close();
  vi.useRealTimers();
});

function Jobs() {
  return <>{useJobs({ mine: true }).jobs.length}</>;
}
function Submit() {
  return <>{useSubmit("slow")[1]}</>;
}

const hooks: Record<string, () => ReactNode> = {
  useConnection: function Standing() {
    return useConnection().state;
  },
  useJob: function Job() {
    return useJob(running).status?.state;
  },
  useJobs: Jobs,
  useSubmit: Submit,
  useResult: function Answer() {
    return String(useResult(ended));
  },
};

test.each(Object.keys(hooks))("1,000 components with %s leave no timer, listener, watch or memory", async (name) => {
  const Component = hooks[name]!;
  const host = document.createElement("div");
  const cycle = async () => {
    const root = createRoot(host);
    const tree = (
      <StrictMode>
        <AckwireProvider client={client}><Suspense fallback="waits"><Component /></Suspense></AckwireProvider>
      </StrictMode>
    );
    await act(async () => root.render(tree));
    await act(() => vi.advanceTimersByTimeAsync(0));
    await act(async () => root.unmount());
    expect(listeners).toBe(0);
  };
  const { received } = server.open[0]!;
  const grown = await growth(1000, async () => {
    await cycle();
    await vi.dynamicImportSettled();
    (received as unknown[]).length = (server.open[0]!.sent as unknown[]).length = 0;
  });
  expect(grown).toBeLessThan(2_000_000);
  await vi.advanceTimersByTimeAsync(0);
  expect(vi.getTimerCount()).toBe(0);
  expect(server.open).toHaveLength(1);
}, 120_000);
