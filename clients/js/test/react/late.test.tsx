// @vitest-environment jsdom

// Code that is loaded late, where it cannot be loaded yet.

import { act } from "react";
import { createRoot } from "react-dom/client";
import { afterEach, expect, test, vi } from "vitest";
import { connect } from "../../src/index.js";
import { AckwireProvider, useJobs } from "../../src/react/index.js";
import { createServer } from "../../src/testing/index.js";

afterEach(() => void vi.restoreAllMocks());

function List() {
  const { error, loading, jobs } = useJobs({ mine: true });
  return <>{error?.code ?? (loading ? "loading" : jobs.map(({ type }) => type).join())}</>;
}

test.each(["../../src/react/live.js", "../../src/mine.js", "../../src/rest.js"])(
  "a list whose code %s cannot be loaded tries again", async (module) => {
    (globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;
    const client = connect(createServer().options);
    await client.submit("a", {});
    vi.spyOn(Math, "random").mockReturnValue(0.01); // of the wait
    vi.doMock(module, () => {
      throw new TypeError("offline");
    });
    const host = document.createElement("div");
    const root = createRoot(host);
    const shows = (text: string) => act(() => vi.waitFor(() => {
      expect(host.textContent).toBe(text);
    }, { timeout: 10_000 }));
    await act(async () => root.render(<AckwireProvider client={client}><List /></AckwireProvider>));
    await shows("unavailable");
    vi.doUnmock(module);
    await shows("a");
    await act(async () => root.unmount());
    await client.close();
    vi.resetModules();
  },
  60_000,
);
