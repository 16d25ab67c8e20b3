// The languages. Every room keeps its words in a `text.ts`, a catalogue of all languages:
// the compiler sees that each has every key, a test that no key is unused.

import { useEffect } from "react";
import { createStore, keep, kept, useStore } from "./store";

export const LANGUAGES = ["en", "tr"] as const;
export type Language = (typeof LANGUAGES)[number];
export type Catalogue<T> = Record<Language, T>;

/** The language of this page: what was chosen on this device, else the browser's first that we have. */
export const language = createStore<Language>(first());

/** The words of a room in the language of now. */
export function useText<T>(catalogue: Catalogue<T>): T {
  return catalogue[useStore(language)];
}

/** Keeps the choice on this device; null follows the browser again. */
export function setLanguage(chosen: Language | null): void {
  keep("language", chosen);
  language.set(first());
}

/** Tells the document its language. */
export function useDocumentLanguage(): void {
  const now = useStore(language);
  useEffect(() => {
    document.documentElement.lang = now;
  }, [now]);
}

export function isLanguage(value: unknown): value is Language {
  return LANGUAGES.some((one) => one === value);
}

function first(): Language {
  const wanted = [kept("language"), ...navigator.languages.map((one) => one.slice(0, 2))];
  return wanted.find(isLanguage) ?? "en";
}
