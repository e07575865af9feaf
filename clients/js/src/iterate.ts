// Async iterators over something that wakes its readers.

/** What an iterator reads. */
export interface Source<T> {
  /** Returns the next result, or undefined when there is nothing yet; throws the error that ends it. */
  take_(): IteratorResult<T, undefined> | undefined;
  /** Called once, when the iterator has ended or nobody reads it any more. */
  stop_(): void;
}

export const DONE: IteratorReturnResult<undefined> = { value: undefined, done: true };

// Engines of React Native lack the symbol; what translates `for await` for them then takes this name.
export const asyncIterator: typeof Symbol.asyncIterator = Symbol.asyncIterator ?? ("@@asyncIterator" as never);

/**
 * Makes an iterator. `open` is called at the first `next()`, so that an iterator that nobody reads holds nothing;
 * its argument is to be called when there may be something to take.
 */
export function iterator<T>(
  open: (wake: () => void) => Source<T> | Promise<Source<T>>, signal?: AbortSignal,
): AsyncIterableIterator<T, undefined, undefined> {
  const waiting: [(result: IteratorResult<T, undefined>) => void, (error: unknown) => void][] = [];
  let source: Source<T> | undefined;
  let failed: unknown;
  let opened = false;
  let ended = false;

  const end = () => {
    if (ended) return;
    ended = true;
    signal?.removeEventListener("abort", wake);
    source?.stop_();
  };
  const wake = () => {
    while (waiting.length) {
      let result: IteratorResult<T, undefined> | undefined = DONE;
      try {
        if (!ended) {
          if (signal?.aborted) throw signal.reason;
          if (!opened) {
            opened = true;
            signal?.addEventListener("abort", wake);
            const opening = open(wake);
            if ("then" in opening) {
              opening.then((late) => (ended ? late.stop_() : (source = late)), (error) => (failed = error)).then(wake);
            } else source = opening;
          }
          if (failed) throw failed;
          result = source?.take_();
        }
      } catch (error) {
        end();
        waiting.shift()![1](error);
        continue;
      }
      if (!result) return;
      if (result.done) end();
      waiting.shift()![0](result);
    }
  };
  return {
    [asyncIterator]() {
      return this;
    },
    next: () => new Promise((resolve, reject) => {
      waiting.push([resolve, reject]);
      wake();
    }),
    return: () => {
      end();
      wake();
      return Promise.resolve(DONE);
    },
  };
}
