// Replies being written: one reader for each, whoever looks at it, also while nobody does.

import { useEffect } from "react";
import type { FinishEvent, GenerationEvent, Verdict } from "../api.gen";
import { Problem } from "./api";
import { events } from "./events";
import { createStore, type Store, useStore } from "./store";

/** A reply as far as it is written. */
export type Writing = {
  readonly text: string;
  /** Who writes it; null while that is hidden or not known yet. */
  readonly release: string | null;
  readonly verdict: Verdict | null;
  /** Moderation took it back. */
  readonly withdrawn: boolean;
  readonly finished: FinishEvent | null;
  /** Why it cannot be followed, in a sentence. */
  readonly problem: string | null;
};

const NOTHING: Writing = { text: "", release: null, verdict: null, withdrawn: false, finished: null, problem: null };
const KEPT_MS = 60_000; // after its end

const nobody = createStore<Writing | null>(null);
const readers = new Map<string, Store<Writing | null>>();
const listeners = new Set<(finish: FinishEvent) => void>();

/** The reply of generation `id` as it grows; null without an id. */
export function useGeneration(id: string | null): Writing | null {
  useEffect(() => {
    if (id) follow(id);
  }, [id]);
  return useStore(id ? storeOf(id) : nobody);
}

/** Has `listener` hear of every generation's end, once each. Returns what ends that. */
export function onFinish(listener: (finish: FinishEvent) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** What `writing` becomes by `event`. */
export function after(writing: Writing, event: GenerationEvent): Writing {
  switch (event.type) {
    case "start":
      return { ...writing, release: event.release };
    case "delta":
      return { ...writing, text: writing.text + event.text };
    case "notice":
      return { ...writing, verdict: event.verdict };
    case "withdraw":
      return { ...writing, text: "", verdict: event.verdict, withdrawn: true };
    case "finish":
      return { ...writing, finished: event };
  }
}

const followed = new Set<string>();

/** Reads generation `id` to its end, unless somebody does already. */
export function follow(id: string): void {
  if (followed.has(id)) return;
  followed.add(id);
  void read(id, storeOf(id)).finally(() => {
    setTimeout(() => {
      followed.delete(id);
      readers.delete(id);
    }, KEPT_MS);
  });
}

async function read(id: string, store: Store<Writing | null>): Promise<void> {
  const now = () => store.get() ?? NOTHING;
  const numbered = events<GenerationEvent>(`/api/generations/${encodeURIComponent(id)}/events`, {
    after: 0,
    isLast: ({ type }) => type === "finish",
    signal: new AbortController().signal,
  });
  try {
    for await (const { event } of numbered) {
      store.set(after(now(), event));
      if (event.type === "finish") for (const tell of [...listeners]) tell(event);
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    store.set({ ...now(), problem: error.message });
  }
}

function storeOf(id: string): Store<Writing | null> {
  const found = readers.get(id) ?? createStore<Writing | null>(null);
  readers.set(id, found);
  return found;
}
