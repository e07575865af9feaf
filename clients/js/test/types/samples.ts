// Values that the types of clients/testdata/types/ackwire.d.ts take and refuse. types.test.ts has the compiler read
// this file: a line below @ts-expect-error that is no error is one.

import type { Ackwire, Jobs, JobType, Payload, Result } from "ackwire";

declare const client: Ackwire;

/** Asks the compiler whether a value has a type. */
const is = <T>(_value: T): void => undefined;

// Names of job types are checked, and bring payload and result with them.
is<JobType>("report.generate");
// @ts-expect-error: there is no such type
is<JobType>("report.generated");
const job = await client.submit("report.generate", { reportType: "sales", from: "2026-01-01" });
is<number>((await job.result()).rows);
is<string | null | undefined>((await job.result()).file);
// @ts-expect-error: from is missing
await client.submit("report.generate", { reportType: "sales" });
// @ts-expect-error: the payload has no such property
await client.submit("report.generate", { reportType: "sales", from: "", more: 1 });

type Report = Payload<"report.generate">;
for (const reportType of ["sales", 'it\'s "quoted" */', 3, null, true] as const) is<Report>({ reportType, from: "" });
// @ts-expect-error: not one of the values
is<Report>({ reportType: "other", from: "" });
is<Report>({ reportType: 3, from: "", options: { compact: true, width: 3 } });
// @ts-expect-error: other options are numbers
is<Report>({ reportType: 3, from: "", options: { width: "wide" } });
is<Result<"report.generate">>({ rows: 1, more: "the schema takes other properties" });

// A tree within a tree.
is<Payload<"tree.walk">>({ name: "a", children: [{ name: "b", children: [], "odd name*/": 1.5 }] });
// @ts-expect-error: the name of a child is missing
is<Payload<"tree.walk">>({ name: "a", children: [{}] });
is<Result<"tree.walk">>(["a", ["b", null, [["c"]]], null]);
// @ts-expect-error: numbers are not in such a list
is<Result<"tree.walk">>(["a", [1]]);

is<Payload<"tuple.take">>(["a", 1]);
is<Payload<"tuple.take">>(["a", 1, null]);
// @ts-expect-error: the second is missing
is<Payload<"tuple.take">>(["a"]);
// @ts-expect-error: there is no fourth
is<Payload<"tuple.take">>(["a", 1, true, 1]);
is<Result<"tuple.take">>([]);
is<Result<"tuple.take">>(["a", 1, 2, 3]);
// @ts-expect-error: the first is a string
is<Result<"tuple.take">>([1]);

is<Payload<"combine.all">>({ a: "", b: 1, extra: {}, kind: "x", x: 1 });
is<Payload<"combine.all">>({ a: "", b: 1, extra: null, kind: "y" });
// @ts-expect-error: extra is required though nothing is said of it
is<Payload<"combine.all">>({ a: "", b: 1, kind: "y" });
// @ts-expect-error: the kind x has an x
is<Payload<"combine.all">>({ a: "", b: 1, extra: 1, kind: "x" });
is<Result<"combine.all">>({ n_1: 1, s_1: "" });
// @ts-expect-error: neither pattern takes it
is<Result<"combine.all">>({ n_1: true });

is<Payload<"empty.object">>({});
// @ts-expect-error: it has no properties
is<Payload<"empty.object">>({ a: 1 });
is<Result<"empty.object">>({ ok: true, list: [1, "two", null] });

// Of what TypeScript cannot say, every value is taken.
for (const value of [1, "", null, [], {}]) {
  is<Payload<"plain.unknown">>(value);
  is<Payload<"never.wrong">>(value);
  is<Result<"old.draft">>(value);
  is<Result<"never.wrong">>({ negated: value, anchor: value, itself: value, round: value, anything: value, other: value });
}
// @ts-expect-error: the schema takes no value there
is<Result<"never.wrong">>({ nothing: 1 });
is<Payload<"old.draft">>({ pair: ["a", 1], ref: "beside a reference nothing counts" });
// @ts-expect-error: there is no third
is<Payload<"old.draft">>({ pair: ["a", 1, 1] });

is<keyof Jobs>("tuple.take");
