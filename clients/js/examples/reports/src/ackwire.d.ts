// The job types of your server. Made by "ackwire types --ts"; do not edit.

export {};

declare module "ackwire" {
  interface Jobs {
    "demo.echo": {
      payload: unknown;
      result: unknown;
    };
    "demo.fail": {
      payload: {
        message?: string;
      };
      result: unknown;
    };
    "demo.flaky": {
      payload: {
        failures: number;
      };
      result: unknown;
    };
    "demo.panic": {
      payload: {
        [name: string]: unknown;
      };
      result: unknown;
    };
    "demo.sleep": {
      payload: {
        seconds: number;
        steps?: number;
      };
      result: unknown;
    };
    "demo.write": {
      payload: {
        rate?: number;
        words?: number;
      };
      result: unknown;
    };
    "report.generate": {
      payload: {
        from: string;
        reportType: string;
        to: string;
      };
      result: unknown;
    };
  }
}
