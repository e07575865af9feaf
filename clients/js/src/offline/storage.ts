// Where the outbox keeps submits.

/**
 * Where an outbox keeps submits. React Native's AsyncStorage is one as it is: `offline(client, { user, storage:
 * AsyncStorage })`. Its methods may return values or promises of them; a promise of `setItem` is fulfilled once the
 * item is kept.
 */
export interface OutboxStorage {
  getAllKeys(): readonly string[] | Promise<readonly string[]>;
  getItem(key: string): string | null | undefined | Promise<string | null | undefined>;
  setItem(key: string, value: string): unknown;
  removeItem(key: string): unknown;
}

const table = "outbox";

/** A storage in IndexedDB, which all tabs of an origin share. A kept item outlives a loss of power. */
export function indexedDBStorage(name = "ackwire"): OutboxStorage {
  let opened: Promise<IDBDatabase> | undefined;

  const open = () => opened ??= new Promise<IDBDatabase>((resolve, reject) => {
    const forget = () => {
      opened = undefined;
    };
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(table);
    request.onerror = () => {
      forget();
      reject(request.error as DOMException);
    };
    request.onsuccess = () => {
      const db = request.result;
      db.onclose = forget;
      db.onversionchange = () => {
        forget();
        db.close();
      };
      resolve(db);
    };
  });

  const run = async <T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    const db = await open();
    return new Promise((resolve, reject) => {
      const transaction = db.transaction(table, mode, { durability: "strict" });
      const request = ask(transaction.objectStore(table));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error as DOMException);
    });
  };

  return {
    getAllKeys: () => run("readonly", (store) => store.getAllKeys() as IDBRequest<string[]>),
    getItem: (key) => run("readonly", (store) => store.get(key) as IDBRequest<string | undefined>),
    setItem: (key, value) => run("readwrite", (store) => store.put(value, key)),
    removeItem: (key) => run("readwrite", (store) => store.delete(key)),
  };
}
