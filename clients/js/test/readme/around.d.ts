// What the README's examples use and do not declare: functions of the reader's program, and as much of other packages
// as they call.

declare const jobId: string;
declare const orderId: string;
declare const userId: string;
declare function fetchToken(): Promise<string>;
declare function render(state: string, percent: number | undefined): void;
declare function showBadge(count: number): void;
declare function showErrors(code: string, errors: readonly { pointer: string; detail: string }[]): void;
declare function showRetry(message: string): void;

declare module "vue" {
  export interface ShallowRef<T> {
    value: T;
  }
  export function shallowRef<T>(value: T): ShallowRef<T>;
  export function onScopeDispose(end: () => void): void;
}

declare module "svelte/store" {
  export interface Readable<T> {
    subscribe(run: (value: T) => void): () => void;
  }
  export function readable<T>(value: T, start: (set: (value: T) => void) => () => void): Readable<T>;
}

declare module "react-native" {
  export const AppState: {
    addEventListener(
      type: "change", listener: (state: "active" | "background" | "inactive") => void,
    ): { remove(): void };
  };
}

declare module "@react-native-async-storage/async-storage" {
  const AsyncStorage: {
    getAllKeys(): Promise<readonly string[]>;
    getItem(key: string): Promise<string | null>;
    setItem(key: string, value: string): Promise<void>;
    removeItem(key: string): Promise<void>;
  };
  export default AsyncStorage;
}
