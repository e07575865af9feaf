// An HTTP proxy between clients and a gateway, of the kind that opens no WebSockets and may gather answers.

import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

export class HTTPProxy {
  /** Answers are passed on when they are whole. */
  gathers = false;
  /** Handshakes of WebSockets that were refused. */
  refused = 0;
  url = "";
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((q, r) => this.pass(q, r));

  constructor(private readonly upstream: string) {
    this.server.on("connection", (socket: Socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
    this.server.on("upgrade", (_, socket) => {
      this.refused++;
      socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    return this;
  }

  private pass(from: IncomingMessage, to: ServerResponse): void {
    const [host, port] = this.upstream.split(":") as [string, string];
    const fail = () => (to.headersSent ? to.destroy() : to.writeHead(502).end());
    const up = request({ host, port, method: from.method, path: from.url, headers: from.headers }, (answer) => {
      answer.on("error", fail);
      const head = () => to.writeHead(answer.statusCode!, answer.headers);
      if (!this.gathers) {
        head();
        answer.on("data", (chunk) => to.write(chunk));
        answer.on("end", () => to.end());
        return;
      }
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("end", () => {
        head();
        to.end(Buffer.concat(chunks));
      });
    });
    up.on("error", fail);
    to.on("close", () => up.destroy());
    from.pipe(up);
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
