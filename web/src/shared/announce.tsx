// What screen readers are told besides what they read: one polite live region for the whole page.

import { createStore, useStore } from "./store";

const said = createStore<readonly { id: number; text: string }[]>([]);
const KEPT = 20;
let count = 0;

/** Tells screen readers, when they have time for it. */
export function announce(text: string): void {
  if (!text.trim()) return;
  count += 1;
  said.set([...said.get().slice(1 - KEPT), { id: count, text }]);
}

/** Nothing more to say of what went before. */
export function hush(): void {
  said.set([]);
}

/** The region itself; the shell has it, once. */
export function Announcer({ label }: { label: string }) {
  const lines = useStore(said);
  return (
    <div className="hidden" role="log" aria-live="polite" aria-label={label}>
      {lines.map(({ id, text }) => (
        <p key={id}>{text}</p>
      ))}
    </div>
  );
}
