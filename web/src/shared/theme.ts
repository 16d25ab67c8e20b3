// Light, dark, or as the system has it. `theme.js`, beside the sign-in pages, applies it before the first paint.

import { createStore, keep, kept } from "./store";

export type Theme = "system" | "light" | "dark";

export const theme = createStore<Theme>(first());

/** Keeps the choice on this device and applies it. */
export function setTheme(chosen: Theme): void {
  keep("theme", chosen === "system" ? null : chosen);
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  theme.set(chosen);
}

function first(): Theme {
  const found = kept("theme");
  return found === "light" || found === "dark" ? found : "system";
}
