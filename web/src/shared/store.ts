// A value outside React that components follow.

import { useSyncExternalStore } from "react";

export type Store<T> = {
  get(): T;
  set(next: T): void;
  subscribe(changed: () => void): () => void;
};

export function createStore<T>(first: T): Store<T> {
  let value = first;
  const followers = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      if (Object.is(value, next)) return;
      value = next;
      for (const changed of [...followers]) changed();
    },
    subscribe(changed) {
      followers.add(changed);
      return () => followers.delete(changed);
    },
  };
}

export function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}

/** What this device keeps under `name`, or null; a browser that keeps nothing says null. */
export function kept(name: string): string | null {
  try {
    return localStorage.getItem(`parley.${name}`);
  } catch {
    return null;
  }
}

/** Keeps `value` on this device, or forgets it. False where there was no room. */
export function keep(name: string, value: string | null): boolean {
  try {
    if (value === null) localStorage.removeItem(`parley.${name}`);
    else localStorage.setItem(`parley.${name}`, value);
    return true;
  } catch {
    return false;
  }
}

/** Forgets everything that was kept on this device but how it looks and speaks. */
export function forgetAll(): void {
  const lasting = new Set(["theme", "language", "single-keys"].map((name) => `parley.${name}`));
  try {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith("parley.") && !lasting.has(key)) localStorage.removeItem(key);
    }
  } catch {
    // A browser that keeps nothing has nothing to forget.
  }
}
