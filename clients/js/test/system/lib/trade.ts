// The programs around Ackwire in an operator's evening: one HTTP server that runs handlers and receives webhooks, whose
// parts break and are mended.

import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What of it is broken. */
export interface Broken {
  mail: boolean;
  disk: boolean;
  hooks: boolean;
}

export interface Trade {
  url: string;
  broken: Broken;
  /** How often each job was run, by its ID. */
  runs: Map<string, number>;
  /** How often each webhook was accepted, by its ID. */
  hooks: Map<string, number>;
  /** The calls of the handler that never answers; those that were broken off leave. */
  hanging: Set<ServerResponse>;
  stop(): void;
}

const fails: Record<string, [status: number, code: string, message: string]> = {
  mail: [503, "smtp_down", "the mail relay mx1 refuses connections"],
  disk: [500, "disk_full", "no space left on /var/reports"],
  image: [422, "bad_image", "the picture has no pixels"],
};

/** Starts the server. A handler's payload names the part that it needs: `{"needs": "mail"}`. */
export async function trade(): Promise<Trade> {
  const broken: Broken = { mail: true, disk: true, hooks: true };
  const runs = new Map<string, number>();
  const hooks = new Map<string, number>();
  const hanging = new Set<ServerResponse>();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    const count = (of: Map<string, number>, id: string) => of.set(id, (of.get(id) ?? 0) + 1);
    if (request.url!.startsWith("/hooks/")) {
      // One route was taken away, the other one fails.
      if (broken.hooks) return void response.writeHead(request.url === "/hooks/old" ? 410 : 500).end();
      count(hooks, String(request.headers["webhook-id"]));
      return void response.writeHead(204).end();
    }
    count(runs, String(request.headers["ce-id"]));
    if (request.url === "/hang") {
      hanging.add(response);
      response.once("close", () => hanging.delete(response));
      return;
    }
    const { needs } = JSON.parse(body) as { needs?: keyof typeof fails };
    const failure = needs && ((broken as unknown as Record<string, boolean>)[needs] ?? true) ? fails[needs] : undefined;
    const answer = failure ? { error: { code: failure[1], message: failure[2] } } : { ok: true };
    response.writeHead(failure?.[0] ?? 200, { "Content-Type": "application/json" }).end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, broken, runs, hooks, hanging,
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
