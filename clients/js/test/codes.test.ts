// The generated codes against the table that they are made from.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as codes from "../src/codes_gen.js";
import { codeOfStatus, retryableCode } from "../src/problems_gen.js";

interface Table {
  errors: { code: string; http: number; retryable: boolean }[];
  closes: { code: number; name: string; reconnect: boolean }[];
}

const table = JSON.parse(
  readFileSync(new URL("../../../schemas/code/codes.json", import.meta.url), "utf8"),
) as Table;

describe("error codes", () => {
  test("are retryable as the table says", () => {
    for (const e of table.errors) {
      expect([e.code, retryableCode(e.code)]).toEqual([e.code, e.retryable]);
    }
  });

  test("that a later server may send are worth another try", () => {
    for (const code of ["later_code", "", "found", "invalid", "__proto__"]) expect(retryableCode(code)).toBe(true);
  });

  test("are found by the HTTP status of an answer that carries none", () => {
    const special = new Map([[503, "unavailable"]]);
    for (const { http } of table.errors) {
      const first = special.get(http) ?? table.errors.find((e) => e.http === http)?.code;
      expect([http, codeOfStatus(http)]).toEqual([http, first]);
    }
    for (const status of [502, 503, 504]) expect(codeOfStatus(status)).toBe("unavailable");
    for (const status of [402, 418, 451, 499]) expect(codeOfStatus(status)).toBe("invalid_frame");
    for (const status of [0, 200, 204, 302, 501, 505, 599]) expect(codeOfStatus(status)).toBe("internal");
  });
});

describe("close codes", () => {
  test("let a client come back as the table says", () => {
    for (const c of table.closes) expect([c.code, codes.reconnects(c.code)]).toEqual([c.code, c.reconnect]);
  });

  test("that are not in the table are judged by their range", () => {
    for (const code of [1000, 1005, 1006, 1014, 1015, 3000, 4499]) expect(codes.reconnects(code)).toBe(true);
    for (const code of [4504, 4998, 4999, 5000]) expect(codes.reconnects(code)).toBe(false);
  });

  test("have names", () => {
    expect(codes.closeTokenExpired).toBe(4002);
    const values = Object.entries(codes).filter(([name]) => name.startsWith("close")).map(([, value]) => value);
    expect(values).toEqual(expect.arrayContaining(table.closes.map((c) => c.code)));
    expect(values).toHaveLength(table.closes.length);
  });
});
