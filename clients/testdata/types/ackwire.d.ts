// The job types of your server. Made by "ackwire types --ts"; do not edit.

export {};

declare module "ackwire" {
  interface Jobs {
    "combine.all": {
      payload: {
        [name: string]: unknown;
      } & {
        a: string;
        [name: string]: unknown;
      } & {
        b: number;
        extra: unknown;
        [name: string]: unknown;
      } & ({
        kind: "x";
        x: number;
        [name: string]: unknown;
      } | {
        kind: "y";
        y?: string;
        [name: string]: unknown;
      });
      result: {
        [name: string]: number | string;
      };
    };
    "empty.object": {
      payload: {
        [name: string]: never;
      };
      result: { "list": [1, "two", null]; "ok": true };
    };
    "never.wrong": {
      payload: unknown;
      result: {
        anchor?: unknown;
        anything?: unknown;
        big?: 9007199254740992;
        itself?: NeverWrongResultItself;
        negated?: unknown;
        nothing?: never;
        round?: NeverWrongResultOne;
        [name: string]: unknown;
      };
    };
    "old.draft": {
      payload: {
        pair?: [string?, number?];
        ref?: OldDraftPayloadWord;
        [name: string]: unknown;
      };
      result: unknown;
    };
    "plain.unknown": {
      payload: unknown;
      result: unknown;
    };
    /** What a report is made of. */
    "report.generate": {
      payload: {
        /**
         * The first day.
         * In UTC.
         */
        from: string;
        limit?: number;
        /** @deprecated */
        old?: string;
        options?: {
          compact?: boolean;
          [name: string]: number | boolean | undefined;
        };
        reportType: "sales" | "it's \"quoted\" */" | 3 | null | true;
        to?: string;
      };
      result: {
        file?: string | null;
        rows: number;
        [name: string]: unknown;
      };
    };
    "tree.walk": {
      payload: TreeWalkPayloadNode;
      result: TreeWalkResultList | null;
    };
    "tuple.take": {
      payload: [string, number, (boolean | null)?];
      result: [string?, ...number[]];
    };
  }
}

type NeverWrongResultItself = unknown;

type NeverWrongResultOne = unknown;

type OldDraftPayloadWord = string;

/** A node and all below it */
type TreeWalkPayloadNode = {
  children?: TreeWalkPayloadNode[];
  name: string;
  "odd name*/"?: 1.5;
};

type TreeWalkResultList = (string | TreeWalkResult)[];

type TreeWalkResult = TreeWalkResultList | null;
