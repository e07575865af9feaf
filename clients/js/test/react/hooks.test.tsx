// @vitest-environment jsdom

// The hooks, in React's StrictMode, on a client of the server in memory.

import { act, StrictMode, Suspense, type ReactNode } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { AckwireError, connect } from "../../src/index.js";
import {
  AckwireProvider, useConnection, useJob, useJobs, useResult, useSubmit, type UseJob, type UseJobs,
} from "../../src/react/index.js";
import { createServer, type TestServer } from "../../src/testing/index.js";
import type { Ackwire } from "../../src/types.js";

let server: TestServer;
let client: Ackwire;
let root: Root | undefined;
let host: HTMLElement;

beforeEach(() => {
  (globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;
  server = createServer();
  client = connect(server.options);
  host = document.createElement("div");
});
afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  await act(async () => root?.unmount());
  root = undefined;
  await client.close();
});

/** Renders below a provider, in StrictMode: effects run twice, and a subscription that leaks shows. */
async function render(node: ReactNode): Promise<void> {
  root ??= createRoot(host);
  await act(async () => root!.render(<StrictMode><AckwireProvider client={client}>{node}</AckwireProvider></StrictMode>));
  await act(() => vi.dynamicImportSettled()); // what a result needs is loaded by the first one that is rendered
}

/** Lets what was begun come to rest, and React render it. */
const settle = (done: () => boolean) => act(() => vi.waitFor(() => {
  if (!done()) throw new Error(`not yet: ${host.innerHTML}`);
}, { timeout: 10_000 }));

function Job({ id, told }: { id: string | undefined; told?: (job: UseJob<any>) => void }) {
  const job = useJob(id);
  told?.(job);
  return <p>{job.error?.code ?? job.status?.state ?? "unknown"} {job.status?.progress?.percent}</p>;
}

test("a job is followed from its submit to its end, and again after a retry", async () => {
  let finish!: (fails: boolean) => void;
  server.on("t", (job) => {
    job.progress(50);
    return new Promise((resolve, reject) => { finish = (fails) => (fails ? reject(new Error("no")) : resolve(1)); });
  });
  const job = await client.submit("t", {});
  let last!: UseJob<any>;
  await render(<Job id={job.id} told={(j) => { last = j; }} />);
  await settle(() => host.textContent === "processing 50");
  const { cancel, retry } = last;
  await act(async () => finish(false));
  await settle(() => host.textContent === "completed 50");
  expect([last.cancel, last.retry]).toEqual([cancel, retry]);
  await act(async () => void (await retry()));
  await settle(() => host.textContent === "processing 50");
  await act(async () => void (await cancel()));
  await act(async () => finish(false));
  await settle(() => /completed|cancelled/.test(host.textContent!));
});

test("without an ID nothing is known, and orders reject", async () => {
  let last!: UseJob<any>;
  await render(<Job id={undefined} told={(j) => { last = j; }} />);
  expect(host.textContent).toBe("unknown ");
  await expect(last.cancel()).rejects.toThrow();
});

test("a job that there is not is an error", async () => {
  await render(<Job id="00000000-0000-7000-8000-000000000000" />);
  await settle(() => host.textContent!.startsWith("not_found"));
});

test("another ID is another job, and the first one is followed no more", async () => {
  const [a, b] = [await client.submit("t", 1, { watch: false }), await client.submit("t", 2, { watch: false })];
  await render(<Job id={a.id} />);
  await settle(() => host.textContent === "pending ");
  await render(<Job id={b.id} />);
  await settle(() => host.textContent === "pending ");
  await render(<p />);
  // What was subscribed in the end was unsubscribed as often.
  const { received } = server.sessions.at(-1)!;
  const named = (type: string) => received.filter((f) => f.type === type).flatMap((f) => (f.jobs as any[]).map((j) => j.jobId ?? j));
  await settle(() => named("unsubscribe").length >= 2);
  expect(new Set(named("subscribe"))).toEqual(new Set([a.id, b.id]));
  expect(new Set(named("unsubscribe"))).toEqual(new Set([a.id, b.id]));
});

test("a submit counts while it is not answered, and tells its error", async () => {
  server.refuse("validation_failed", { detail: "no" });
  let submit!: (payload: unknown) => Promise<unknown>;
  function Button() {
    const [run, pending, error] = useSubmit("t");
    submit = run;
    return <p>{pending} {error?.code}</p>;
  }
  await render(<Button />);
  let outcome: unknown;
  const first = submit;
  await act(async () => { outcome = await submit(1).catch((e) => e.code); });
  expect([outcome, host.textContent]).toEqual(["validation_failed", "0 validation_failed"]);
  let sent!: Promise<unknown>;
  await act(async () => { sent = submit(2); });
  await act(async () => { outcome = await sent; });
  expect(host.textContent).toBe("0 ");
  expect(submit).toBe(first);
  expect(server.jobs.length).toBe(1);
});

function List({ told, limit = 2 }: { told?: (jobs: UseJobs) => void; limit?: number }) {
  const jobs = useJobs({ mine: true, limit });
  told?.(jobs);
  return <p>{jobs.error?.code ?? (jobs.loading ? "loading" : jobs.jobs.map((j) => `${j.type}:${j.state}`).join(" "))}</p>;
}

test("the list holds jobs made before and after, newest first, and pages", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  for (const type of ["a", "b", "c"]) {
    await client.submit(type, {});
    vi.setSystemTime(Date.now() + 2); // a time of its own for each
  }
  let last!: UseJobs;
  await render(<><List told={(l) => { last = l; }} /></>);
  await settle(() => host.textContent === "c:pending b:pending");
  expect(last.hasMore).toBe(true);
  await act(async () => last.loadMore());
  await settle(() => host.textContent === "c:pending b:pending a:pending");
  expect(last.hasMore).toBe(false);
  server.on("d", () => 1);
  await act(async () => void (await client.submit("d", {})));
  await settle(() => host.textContent!.startsWith("d:completed c:pending"));
});

test("a list holds 8 million characters at most: the oldest jobs leave", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  server.on("t", (job) => `${job.payload}`.padEnd(250_000));
  let last!: UseJobs;
  await render(<List told={(l) => { last = l; }} />);
  await settle(() => host.textContent === "");
  for (let i = 0; i < 40; i++) {
    await act(async () => void (await (await client.submit("t", i)).wait()));
    vi.setSystemTime(Date.now() + 2); // a time of its own for each
  }
  await settle(() => last.jobs[0]?.state === "completed" && last.jobs.length < 40);
  const shown = last.jobs.map((job) => parseInt(job.result as string));
  expect(shown).toEqual(Array.from({ length: 31 }, (_, i) => 39 - i)); // 7.75 million
  expect(last.hasMore).toBe(false);
}, 60_000);

test("a list that fails is read again, and tells its error meanwhile", async () => {
  await client.submit("a", {});
  const { list } = client;
  let tries = 0;
  client.list = async (query) => {
    if (tries++ < 2) throw new AckwireError({ code: "overloaded", retryable: true });
    return list(query);
  };
  vi.spyOn(Math, "random").mockReturnValue(0.01); // of the wait
  await render(<List />);
  await settle(() => host.textContent === "overloaded");
  await settle(() => host.textContent === "a:pending");
  expect(tries).toBe(3);
}, 60_000);

test("two lists at a time keep what they have", async () => {
  await client.submit("a", {});
  let asked = 0;
  const { list } = client;
  client.list = (q) => { asked++; return list(q); };
  await render(<><List /><List limit={3} /></>);
  await settle(() => host.textContent === "a:pendinga:pending");
  const before = asked;
  await render(<><List /><List limit={3} /><b /></>);
  await settle(() => host.textContent === "a:pendinga:pending");
  expect(asked).toBe(before);
});

test("a page without a token's permission tells the list's error", async () => {
  server.refuse("forbidden", { of: "subscribe", times: 10 });
  await render(<List />);
  await settle(() => host.textContent === "forbidden");
});

function Answer({ id }: { id: string }) {
  return <p>{JSON.stringify(useResult(id))}</p>;
}

test("a result suspends until it is there", async () => {
  let finish!: (value: unknown) => void;
  server.on("t", () => new Promise((resolve) => { finish = resolve; }));
  const job = await client.submit("t", {});
  await render(<Suspense fallback="wait"><Answer id={job.id} /></Suspense>);
  expect(host.textContent).toBe("wait");
  await act(async () => finish({ rows: 3 }));
  await settle(() => host.textContent === '{"rows":3}');
});

test("results are remembered up to 8 million characters, and a component keeps its own", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  server.on("t", (job) => `${job.payload}`.padEnd(250_000));
  const ids: string[] = [];
  for (let i = 0; i < 40; i++) ids.push((await client.submit("t", i)).id);
  const asked: string[] = [];
  const { job } = client;
  client.job = ((id: string) => {
    const handle = job(id);
    return { ...handle, result: () => (asked.push(id), handle.result()) };
  }) as typeof job;
  const Number = ({ id }: { id: string }) => <i>{parseInt(useResult(id) as string)} </i>;
  // All at once are more than that, and must not push each other out for ever.
  const page = (...shown: string[]) => (
    <Suspense fallback="wait">{shown.map((id) => <Number key={id} id={id} />)}</Suspense>
  );
  await render(page(...ids));
  await settle(() => host.textContent === ids.map((_, i) => `${i} `).join(""));
  expect(asked).toEqual(ids);

  asked.length = 0;
  await render(page(ids[0]!));
  vi.setSystemTime(Date.now() + 20_000);
  const { id } = await client.submit("t", 40);
  await render(page(ids[0]!, id));
  await settle(() => host.textContent === "0 40 ");
  expect(asked).toEqual([id]); // the first component has its own, though it was forgotten
  for (const [i, again] of [[39, false], [1, true]] as const) {
    asked.length = 0;
    await render(page(ids[0]!, ids[i]!));
    await settle(() => host.textContent === `0 ${i} `);
    expect(asked).toEqual(again ? [ids[i]] : []);
  }
}, 60_000);

test("on a server nothing is known and nothing is opened; the page hydrates without a mismatch", async () => {
  const job = await client.submit("t", {});
  const visitor = connect(server.options);
  function Page() {
    return <AckwireProvider client={visitor}><Job id={job.id} /><List /><Connection /></AckwireProvider>;
  }
  function Connection() {
    return <i>{useConnection().state}</i>;
  }
  const sessions = server.sessions.length;
  const html = renderToString(<Page />);
  expect(html.replaceAll("<!-- -->", "")).toBe("<p>unknown </p><p>loading</p><i>idle</i>");
  expect(server.sessions.length).toBe(sessions);
  host.innerHTML = html;
  const complaints: unknown[] = [];
  await act(async () => { root = hydrateRoot(host, <Page />, { onRecoverableError: (e) => complaints.push(e) }); });
  await settle(() => host.textContent!.includes("t:pending") && host.textContent!.endsWith("open"));
  expect(complaints).toEqual([]);
  await act(async () => root!.unmount());
  root = undefined;
  await visitor.close();
});

test("nothing is watched once the last component is gone", async () => {
  const job = await client.submit("t", {}, { watch: false });
  for (let i = 0; i < 20; i++) {
    await render(<><Job id={job.id} /><List /></>);
    await settle(() => host.textContent === "pending t:pending");
    await render(<p />);
  }
  const { received } = server.sessions.at(-1)!;
  const count = (type: string, of: (f: any) => boolean) => received.filter((f) => f.type === type && of(f)).length;
  await settle(() => count("unsubscribe", (f) => f.mine === true) >= count("subscribe", (f) => f.mine === true));
  expect(count("unsubscribe", (f) => !!f.jobs)).toBe(count("subscribe", (f) => !!f.jobs));
});
