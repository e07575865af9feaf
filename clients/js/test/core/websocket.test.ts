// The WebSocket transport, over real sockets on this machine, and with fake ones.

import { createServer as createHTTP, type IncomingMessage, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { type ConnectOptions, connect, webSocket } from "../../src/index.js";
import { type Any, limits } from "./fake.js";

/** A small gateway: it takes the token "good", in a subprotocol, a frame or a ticket, and acks every submit. */
class Gateway {
  readonly http: Server;
  readonly sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "ackwire.v1" });
  readonly handshakes: IncomingMessage[] = [];
  readonly frames: Any[] = [];
  tickets = 0;
  refuse = 0; // an HTTP status for handshakes

  constructor() {
    this.http = createHTTP((request, response) => {
      const good = request.headers.authorization === "Bearer good";
      if (request.url === "/v1/ws-tickets" && request.method === "POST" && good) {
        response.writeHead(201, { "Content-Type": "application/json" });
        response.end(JSON.stringify({ ticket: `ticket-${++this.tickets}`, url: "/v1/ws?ticket=x", expiresAt: "" }));
      } else {
        response.writeHead(401, { "Content-Type": "application/problem+json" });
        response.end(JSON.stringify({ code: "unauthenticated", title: "Not authenticated", retryable: false }));
      }
    });
    this.http.on("upgrade", (request, socket, head) => {
      this.handshakes.push(request);
      const offered = String(request.headers["sec-websocket-protocol"]);
      const bearer = /ackwire\.bearer\.([^, ]+)/.exec(offered)?.[1];
      const ticket = new URL(request.url!, "http://x").searchParams.get("ticket");
      if (this.refuse || (bearer !== undefined && bearer !== "good")) {
        socket.end(`HTTP/1.1 ${this.refuse || 401} No\r\nConnection: close\r\n\r\n`);
        return;
      }
      this.sockets.handleUpgrade(request, socket, head, (ws) => this.serve(ws, bearer === "good" || ticket !== null));
    });
  }

  private serve(ws: WebSocket, known: boolean): void {
    const say = (frame: object) => ws.send(JSON.stringify(frame));
    const welcome = () => say({ type: "welcome", connection: "c", protocol: "ackwire.v1", pingInterval: 25, limits });
    if (known) welcome();
    ws.on("message", (data) => {
      const frame = JSON.parse(String(data));
      this.frames.push(frame);
      if (frame.type === "auth" && frame.token === "good") welcome();
      else if (frame.type === "auth") {
        say({ type: "error", code: "unauthenticated", title: "Not authenticated", retryable: false });
        ws.close(4500, "unauthenticated");
      } else if (frame.type === "submit") {
        const jobId = `j${frame.payload}`;
        say({ type: "ack", id: frame.id, jobId, state: "pending", statusUrl: `/v1/jobs/${jobId}` });
        say({ type: "status", version: 2, job: { jobId, type: frame.job, state: "completed", result: frame.payload } });
      }
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.http.address() as AddressInfo).port}`;
  }

  connect(options: ConnectOptions = {}) {
    return connect({ url: this.url, transports: [webSocket()], WebSocket: WebSocket as Any, backoff: { base: 1, cap: 5 }, ...options });
  }
}

let gateway: Gateway;
beforeEach(async () => {
  gateway = new Gateway();
  gateway.http.listen(0, "127.0.0.1");
  await once(gateway.http, "listening");
});
afterEach(async () => {
  vi.unstubAllGlobals();
  for (const ws of gateway.sockets.clients) ws.terminate();
  gateway.http.closeAllConnections();
  await new Promise((resolve) => gateway.http.close(resolve));
});

test("with ws, given or global: submit, follow, result; the token in a subprotocol, the query kept", async () => {
  vi.stubGlobal("WebSocket", WebSocket);
  for (const options of [{}, { WebSocket: undefined as Any }]) {
    const client = gateway.connect({ ...options, token: "good", url: gateway.url + "/v1/ws?region=eu" });
    const job = await client.submit("t", 7);
    expect(await job.result()).toBe(7);
    await client.close();
  }
  expect(gateway.handshakes.map((h) => h.url)).toEqual(["/v1/ws?region=eu", "/v1/ws?region=eu"]);
  expect(gateway.handshakes[0]!.headers["sec-websocket-protocol"]).toBe("ackwire.v1,ackwire.bearer.good");
});

test("a token that is refused ends the client: a handshake does not tell why, a first frame does", async () => {
  const token = vi.fn(async () => "bad");
  const client = gateway.connect({ token });
  await expect(client.submit("t", 1)).rejects.toMatchObject({ code: "unauthenticated", closeCode: 4500 });
  expect(token).toHaveBeenCalledTimes(2);
  expect(gateway.handshakes.map((h) => h.headers["sec-websocket-protocol"])).toEqual(["ackwire.v1,ackwire.bearer.bad", "ackwire.v1"]);
});

test("a fresh token after a refused one is taken", async () => {
  let n = 0;
  const client = gateway.connect({ token: async () => (n++ ? "good" : "stale") });
  expect((await client.submit("t", 1)).id).toBe("j1");
  expect(gateway.frames[0]).toEqual({ type: "auth", token: "good" });
  await client.close();
});

test("tickets: the token stands in no handshake and no frame", async () => {
  const client = gateway.connect({ token: "good", tickets: true, url: gateway.url + "?region=eu" });
  expect((await client.submit("t", 1)).id).toBe("j1");
  gateway.sockets.clients.forEach((ws) => ws.close(1012));
  expect((await client.submit("t", 2)).id).toBe("j2");
  await client.close();
  expect(gateway.handshakes.map((h) => h.url)).toEqual(["/v1/ws?region=eu&ticket=ticket-1", "/v1/ws?region=eu&ticket=ticket-2"]);
  expect(gateway.handshakes.some((h) => JSON.stringify(h.rawHeaders).includes("good"))).toBe(false);
  expect(gateway.frames.every((f) => f.type === "submit")).toBe(true);
});

test("a ticket that is refused ends the client", async () => {
  const client = gateway.connect({ token: "bad", tickets: true });
  await expect(client.submit("t", 1)).rejects.toMatchObject({ code: "unauthenticated", status: 401 });
  expect(gateway.handshakes).toHaveLength(0);
});

test("a gateway that is away, then refuses, then is there", async () => {
  gateway.refuse = 503;
  const client = gateway.connect({ token: "good" });
  const submit = client.submit("t", 1);
  while (gateway.handshakes.length < 3) await once(gateway.http, "upgrade");
  gateway.refuse = 0;
  expect((await submit).id).toBe("j1");
  await client.close();
});

test("no WebSocket anywhere, or one that throws: an error that is told, not thrown", async () => {
  vi.stubGlobal("WebSocket", undefined);
  for (const broken of [undefined, class { constructor() { throw new Error("blocked by policy"); } }] as Any[]) {
    const closed = vi.fn();
    const target = { base: "https://x", query: "", token: undefined, tickets: false, fetch, WebSocket: broken, standard: webSocket() };
    const session = webSocket().open(target, { frame: vi.fn(), closed });
    expect(closed).toHaveBeenCalledTimes(1);
    expect(closed.mock.calls[0]).toMatchObject([1006, "", { code: "unavailable", retryable: true }]);
    session.send("x");
    session.close();
    expect(closed).toHaveBeenCalledTimes(1);
  }
});

test("close tells the end at once and once, with a code that a browser allows", async () => {
  const sockets: Any[] = [];
  class Fake {
    close = vi.fn();
    send = vi.fn();
    constructor(readonly url: string, readonly protocols: string[]) {
      sockets.push(this);
    }
  }
  for (const [code, allowed] of [[undefined, 1000], [1000, 1000], [4001, 4001], [1001, 1000]]) {
    const closed = vi.fn();
    const target = { base: "https://x/y", query: "?a", token: "t", tickets: false, fetch, WebSocket: Fake as Any, standard: webSocket() };
    const session = webSocket().open(target, { frame: vi.fn(), closed });
    const socket = sockets.at(-1);
    expect(socket).toMatchObject({ url: "wss://x/y/v1/ws?a", protocols: ["ackwire.v1", "ackwire.bearer.t"] });
    session.close(code as number);
    expect(closed).toHaveBeenCalledTimes(1);
    expect(socket.close.mock.calls[0][0]).toBe(allowed);
    socket.onclose({ code: 1006, reason: "" });
    expect(closed).toHaveBeenCalledTimes(1);
  }
});

test("closed before its ticket came: no socket is opened", async () => {
  const opened = vi.fn();
  let answer = (_: Response) => {};
  const slow = (() => new Promise((resolve) => (answer = resolve))) as Any;
  const target = { base: "https://x", query: "", token: "t", tickets: true, fetch: slow, WebSocket: opened as Any, standard: webSocket() };
  const closed = vi.fn();
  webSocket().open(target, { frame: vi.fn(), closed }).close();
  answer(Response.json({ ticket: "x" }));
  await new Promise((resolve) => setImmediate(resolve));
  expect(opened).not.toHaveBeenCalled();
  expect(closed).toHaveBeenCalledTimes(1);
});
