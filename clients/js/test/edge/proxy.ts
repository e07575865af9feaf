// An HTTP server before the server in memory, with the ways of proxies: it opens no WebSockets, gathers answers, cuts.

import { createServer as listen, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Frame, TestServer } from "../../src/testing/index.js";
import type { Session } from "../../src/types.js";

/** A request that has come, as the tests look at it. */
export interface Seen {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: string;
}

export class Proxy {
  /** Answers are held back until they are whole. */
  gathers = false;
  /** Cursors are left out. */
  withoutCursor = false;
  /** How the next requests for a path are answered, instead of by the server. */
  readonly answers: { path: string; status: number; body?: string }[] = [];
  readonly seen: Seen[] = [];
  url = "";
  private readonly sockets = new Set<Socket>();
  private readonly http = listen((request, response) => void this.serve(request, response));

  constructor(private readonly server: TestServer) {
    this.http.on("connection", (socket: Socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
    this.http.on("upgrade", (_, socket) => {
      socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
  }

  async start(): Promise<void> {
    await new Promise<void>((done) => this.http.listen(0, "127.0.0.1", done));
    this.url = `http://127.0.0.1:${(this.http.address() as AddressInfo).port}`;
  }

  /** Cuts all connections. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((done) => this.http.close(done));
  }

  /** The requests for frames that were seen, or others. */
  of(path = "/v1/events"): Seen[] {
    return this.seen.filter((request) => request.path === path);
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += chunk;
    const path = request.url!.split("?")[0]!;
    this.seen.push({ method: request.method!, path, headers: request.headers, body });
    const i = this.answers.findIndex((answer) => answer.path === path);
    if (i >= 0) {
      const [answer] = this.answers.splice(i, 1);
      response.writeHead(answer!.status).end(answer!.body ?? "");
      return;
    }
    if (path === "/v1/events") return this.events(request, response, body);
    const answer = await this.server.fetch(this.server.url + request.url, {
      method: request.method!, headers: request.headers as Record<string, string>,
      ...(request.method === "POST" && { body }),
    });
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
  }

  /** POST /v1/events, which the server in memory does not have: a session of it, as an event stream. */
  private events(request: IncomingMessage, response: ServerResponse, body: string): void {
    const asked = JSON.parse(body) as { jobs?: object[]; mine?: boolean; after?: string };
    const wait = Number(/^wait=(\d+)$/.exec((request.headers.prefer as string) ?? "")?.[1] ?? 0);
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    const answers: Frame[] = [];
    const later: string[] = [];
    const gathered: string[] = [];
    const expected = (asked.jobs?.length ? 1 : 0) + (asked.mine ? 1 : 0);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = () => {
      clearTimeout(timer);
      if (response.writableEnded) return;
      if (!response.headersSent) response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.end(gathered.join(""));
      session?.close(1000);
    };
    const write = (text: string) => {
      if (response.writableEnded) return;
      const event = `data: ${text}\n\n`;
      if (this.gathers) gathered.push(event);
      else response.write(event);
    };
    const take = (frame: Frame, text: string) => {
      if (frame.type === "cursor" && this.withoutCursor) return;
      if (answers.length < expected) {
        later.push(text);
        return;
      }
      write(text);
      if (wait > 0 && frame.type === "status") end();
    };
    const begun = () => {
      const jobs = answers.flatMap((answer) => answer.jobs as object[]);
      const mine = answers.find((answer) => answer.mine);
      write(JSON.stringify({ type: "subscribed", jobs, ...(mine && { mine: true, reset: mine.reset }) }));
      for (const text of later.splice(0)) take(JSON.parse(text) as Frame, text);
      if (wait > 0 && expected === 0) end();
    };
    const session: Session | undefined = this.server.transport.open(
      {
        base: this.server.url, query: "", token, tickets: false, standard: this.server.transport,
        fetch: this.server.fetch, WebSocket: undefined,
      },
      {
        frame: (text) => {
          const frame = JSON.parse(text) as Frame;
          if (frame.type === "welcome") {
            if (!this.gathers) response.writeHead(200, { "Content-Type": "text/event-stream" });
            write(text);
            queueMicrotask(() => {
              const { jobs, mine, after } = asked;
              if (jobs?.length) session?.send(JSON.stringify({ type: "subscribe", id: "j", jobs }));
              if (mine) session?.send(JSON.stringify({ type: "subscribe", id: "m", mine, after }));
              if (expected === 0) begun();
            });
          } else if (frame.type === "subscribed" && frame.id) {
            answers.push(frame);
            if (answers.length === expected) begun();
          } else take(frame, text);
        },
        closed: (_code, _reason, error) => {
          if (error && !response.headersSent) {
            response.writeHead(error.status ?? 503, { "Content-Type": "application/problem+json" });
            response.end(JSON.stringify({ code: error.code, status: error.status, retryable: error.retryable }));
          }
          end();
        },
      },
    );
    if (wait > 0) timer = setTimeout(end, wait * 1000);
    response.on("close", () => {
      clearTimeout(timer);
      session?.close(1000);
    });
  }
}
