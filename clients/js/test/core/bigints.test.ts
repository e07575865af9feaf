// Numbers that a double cannot hold.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parser } from "../../src/bigints.js";
import { outcomeOf, world } from "./fake.js";

describe("the parser", () => {
  const big = "9007199254740993";
  test.each<[string, unknown, unknown]>([
    [big, big, 9007199254740993n],
    ["-" + big, "-" + big, -9007199254740993n],
    ["9007199254740991", 9007199254740991, 9007199254740991],
    ["[1,2.5,-0]", [1, 2.5, -0], [1, 2.5, -0]],
    [`{"a":${big},"b":[${big}0]}`, { a: big, b: [big + "0"] }, { a: 9007199254740993n, b: [90071992547409930n] }],
    [`"${big}"`, big, big],
    [`"x\\"${big}"`, `x"${big}`, `x"${big}`],
    [`"\\\\",${big}`.replace(/^/, "[") + "]", ["\\", big], ["\\", 9007199254740993n]],
    [`{"${big}":1}`, { [big]: 1 }, { [big]: 1 }],
    [`${big}.5`, 9007199254740993.5, 9007199254740993.5],
    [`${big}e3`, 9007199254740993e3, 9007199254740993e3],
    ["0.12345678901234567890", 0.1234567890123456789, 0.1234567890123456789],
  ])("%s", (text, string, bigint) => {
    expect(parser("string")(text)).toEqual(string);
    expect(parser("bigint")(text)).toEqual(bigint);
  });

  test.each([["01234567890123456789"], ["[12345678901234567890 1]"], ["-"], ["12345678901234567890x"], ['"12345678901234567890']])(
    "%s is no JSON", (text) => {
      for (const as of ["string", "bigint"] as const) expect(() => parser(as)(text)).toThrow(SyntaxError);
    },
  );

  test("all that JSON.parse reads exactly is read alike, and __proto__ is a member like others", () => {
    fc.assert(fc.property(fc.json(), (text) => {
      const plain = JSON.parse(text);
      for (const as of ["string", "bigint"] as const) {
        const read = parser(as)(text);
        const back = JSON.stringify(read, (_, value) => (typeof value === "bigint" ? Number(value) : value));
        if (as === "bigint") expect(JSON.parse(back)).toEqual(plain);
      }
    }));
    const read = parser("bigint")('{"__proto__":{"a":12345678901234567890}}');
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
    expect(Object.hasOwn(read, "__proto__")).toBe(true);
  });

  test("every integer survives", () => {
    fc.assert(fc.property(fc.bigInt(), (n) => {
      expect(BigInt(parser("bigint")(`{"n":${n}}`).n)).toBe(n);
      expect(BigInt(parser("string")(`{"n":${n}}`).n)).toBe(n);
    }));
  });
});

test.each([["number", 9007199254740992], ["string", "9007199254740993"], ["bigint", 9007199254740993n]] as const)(
  "the option %s, for results", async (bigints, value) => {
    const w = world({ bigints, welcome: true });
    const result = outcomeOf(w.client.result("j1"));
    while (!w.server.last?.sent.length) await new Promise((resolve) => setImmediate(resolve)); // the parser is loaded
    w.server.last.say('{"type":"status","version":1,"job":{"jobId":"j1","state":"completed","result":{"n":9007199254740993}}}');
    await new Promise((resolve) => setImmediate(resolve));
    expect(result.value).toEqual({ n: value });
    await w.client.close();
  },
);
