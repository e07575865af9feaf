// A TCP proxy between the browser and the gateways: a load balancer, and a network that can be cut.

import { connect, createServer, type Server, type Socket } from "node:net";

export class Proxy {
  private readonly server: Server;
  private readonly pairs = new Set<[Socket, Socket]>();
  private turn = 0;
  private down = false;

  /** The address that clients use, host:port. */
  address = "";
  /** Connections that were opened through it. */
  opened = 0;

  constructor(private readonly upstreams: string[]) {
    this.server = createServer((client) => this.take(client));
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.address = `127.0.0.1:${(this.server.address() as { port: number }).port}`;
    return this;
  }

  private take(client: Socket, tries = 0): void {
    client.on("error", () => client.destroy());
    if (this.down || tries >= this.upstreams.length) {
      client.destroy();
      return;
    }
    const [host, port] = (this.upstreams[this.turn++ % this.upstreams.length] as string).split(":") as [string, string];
    const upstream = connect(Number(port), host);
    let up = false;
    upstream.once("connect", () => {
      up = true;
      this.opened++;
      const pair: [Socket, Socket] = [client, upstream];
      this.pairs.add(pair);
      client.pipe(upstream).pipe(client);
      const end = () => { this.pairs.delete(pair); client.destroy(); upstream.destroy(); };
      client.once("close", end);
      upstream.once("close", end);
    });
    upstream.on("error", () => {
      if (up) client.destroy();
      else this.take(client, tries + 1); // the next gateway
    });
  }

  /** Ends every connection, as a mobile network does when it changes. */
  cut(): void {
    for (const [a, b] of this.pairs) { a.destroy(); b.destroy(); }
  }

  /** Lets nothing through and tells nobody: connections stay open, as after a laptop was put to sleep. */
  stall(): void {
    for (const [a, b] of this.pairs) { a.unpipe(b); b.unpipe(a); a.pause(); b.pause(); }
  }

  /** Refuses connections, until `mend`. */
  fail(): void { this.down = true; this.cut(); }
  mend(): void { this.down = false; }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
