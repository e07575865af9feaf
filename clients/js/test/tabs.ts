// What tabs of one origin share, in memory: locks (Web Locks API) and channels (BroadcastChannel).

interface Waiting {
  tab: Tab;
  run: () => unknown;
  signal: AbortSignal | undefined;
  resolve: (value: unknown) => void;
  reject: (reason: unknown) => void;
}

/** The locks and channels of an origin. */
export class Origin {
  readonly locks = new Map<string, { held: Waiting | undefined; queue: Waiting[] }>();
  readonly channels = new Set<Channel>();

  tab(): Tab {
    return new Tab(this);
  }

  /** Grants a lock to the next that waits for it. */
  grant(name: string): void {
    const lock = this.locks.get(name);
    if (!lock || lock.held) return;
    const next = lock.queue.shift();
    if (!next) {
      this.locks.delete(name);
      return;
    }
    lock.held = next;
    const release = () => {
      if (lock.held !== next) return; // the tab is gone
      lock.held = undefined;
      this.grant(name);
    };
    next.tab.task(() => {
      if (lock.held !== next) return;
      void Promise.resolve(next.run()).finally(release).then(next.resolve, next.reject);
    });
  }
}

/** A tab's own view of its origin. */
export class Tab {
  dead = false;
  private later: (() => void)[] | undefined;
  readonly origin: Origin;

  constructor(origin: Origin) {
    this.origin = origin;
  }

  /** While it is true the tab hears of nothing: what comes, comes when it goes on. */
  set frozen(frozen: boolean) {
    const { later = [] } = this;
    this.later = frozen ? later : undefined;
    if (!frozen) for (const run of later) this.task(run);
  }

  /** Runs something in the tab, soon. */
  task(run: () => void): void {
    if (this.later) this.later.push(run);
    else queueMicrotask(run);
  }

  /** `navigator.locks`, as far as it is used. */
  readonly locks = {
    request: (name: string, options: { signal?: AbortSignal; steal?: boolean }, run: () => unknown): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const { locks } = this.origin;
        const lock = locks.get(name) ?? { held: undefined, queue: [] };
        locks.set(name, lock);
        const waiting = { tab: this, run, signal: options.signal, resolve, reject };
        if (options.steal) {
          const { held } = lock;
          lock.held = undefined;
          held?.tab.task(() => held.reject(new Error("stolen")));
          lock.queue.unshift(waiting);
        } else lock.queue.push(waiting);
        options.signal?.addEventListener("abort", () => {
          if (!lock.queue.includes(waiting)) return;
          lock.queue.splice(lock.queue.indexOf(waiting), 1);
          reject(options.signal?.reason);
        });
        this.origin.grant(name);
      }),
    query: async () => {
      const all = [...this.origin.locks].map(([name, { held, queue }]) => ({ name, held, queue }));
      return {
        held: all.flatMap(({ name, held }) => (held ? [{ name }] : [])),
        pending: all.flatMap(({ name, queue }) => queue.map(() => ({ name }))),
      };
    },
  };

  /** The class BroadcastChannel of this tab. */
  get Channel(): new (name: string) => Channel {
    const tab = this;
    return class extends Channel {
      constructor(name: string) {
        super(tab, name);
      }
    };
  }

  /** Ends the tab as a crash does: its locks are free, and nothing of it is heard any more. */
  die(): void {
    this.dead = true;
    for (const channel of this.origin.channels) if (channel.tab === this) channel.close();
    for (const [name, lock] of this.origin.locks) {
      lock.queue = lock.queue.filter(({ tab }) => tab !== this);
      if (lock.held?.tab === this) lock.held = undefined;
      this.origin.grant(name);
    }
  }
}

/** A BroadcastChannel whose messages come in microtasks. */
export class Channel {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  readonly tab: Tab;
  readonly name: string;

  constructor(tab: Tab, name: string) {
    this.tab = tab;
    this.name = name;
    tab.origin.channels.add(this);
  }

  postMessage(data: unknown): void {
    if (this.tab.dead) return;
    if (!this.tab.origin.channels.has(this)) throw new Error("the channel is closed");
    for (const other of this.tab.origin.channels) {
      if (other === this || other.name !== this.name) continue;
      other.tab.task(() => {
        if (this.tab.origin.channels.has(other)) other.onmessage?.({ data: structuredClone(data) });
      });
    }
  }

  close(): void {
    this.tab.origin.channels.delete(this);
  }
}
