// Keys that do something anywhere on a screen. What is registered is what the list (key ?) shows.

import { useEffect, useRef } from "react";
import { createStore, keep, kept, useStore } from "./store";

export type Shortcut = {
  /** As `KeyboardEvent.key` has it, with `mod+` for Ctrl or ⌘. */
  keys: string;
  label: string;
  run: () => void;
  /** Also while somebody types. */
  always?: boolean;
  /** Only listed: something else does it. */
  listed?: boolean;
  /** False: not now. */
  when?: boolean;
};

/** Whether keys of one character do something; some people's tools type them by accident (WCAG 2.1.4). */
export const singleKeys = createStore(kept("single-keys") !== "off");

export function setSingleKeys(on: boolean): void {
  keep("single-keys", on ? null : "off");
  singleKeys.set(on);
}

const active = createStore<readonly { id: symbol; now: () => Shortcut }[]>([]);

/** Has `shortcut` work while the component is on the page. */
export function useShortcut(shortcut: Shortcut): void {
  const latest = useRef(shortcut);
  latest.current = shortcut;
  useEffect(() => {
    const id = Symbol("shortcut");
    active.set([...active.get(), { id, now: () => latest.current }]);
    return () => active.set(active.get().filter((one) => one.id !== id));
  }, []);
}

/** Those that work now, the last one of a key. */
export function useShortcuts(): readonly Shortcut[] {
  const all = useStore(active).map(({ now }) => now());
  return [...new Map(all.map((one) => [one.keys, one])).values()];
}

/** How people write the keys: "Ctrl K", "⌘ K", "?". */
export function keysInWords(keys: string): readonly string[] {
  const isApple = /Mac|iP(hone|ad)/.test(navigator.userAgent);
  const names: Record<string, string> = { mod: isApple ? "⌘" : "Ctrl", shift: "⇧", Enter: "Enter", Escape: "Esc" };
  return (keys === "+" ? [keys] : keys.split("+")).map(
    (key) => names[key] ?? (key.length === 1 ? key.toUpperCase() : key),
  );
}

function onKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.repeat || event.isComposing || event.altKey) return;
  const mod = event.ctrlKey || event.metaKey;
  const keys = `${mod ? "mod+" : ""}${mod && event.shiftKey ? "shift+" : ""}${event.key.length === 1 ? event.key.toLowerCase() : event.key}`;
  const found = active
    .get()
    .findLast(({ now }) => isFor(now(), keys))
    ?.now();
  if (!found || (keys.length === 1 && keys !== "?" && !singleKeys.get())) return;
  if ((isTyping(event.target) && !found.always) || document.querySelector("dialog:modal")) return;
  event.preventDefault();
  found.run();
}

function isFor(shortcut: Shortcut, keys: string): boolean {
  return shortcut.keys === keys && !shortcut.listed && shortcut.when !== false;
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) &&
    !/^(radio|checkbox|button)$/.test((target as HTMLInputElement).type)
  );
}

document.addEventListener("keydown", onKey);
