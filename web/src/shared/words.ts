// Numbers and times for people. A number and its unit stay on one line.

import { type Catalogue, language } from "./i18n";

const NBSP = "\u00a0";
const units: Catalogue<{ second: string; minute: string; hour: string }> = {
  en: { second: "s", minute: "min", hour: "h" },
  tr: { second: "sn", minute: "dk", hour: "sa" },
};

/** 41.2 → "41 s", 192 → "3 min 12 s", 3840 → "1 h 4 min". */
export function duration(seconds: number): string {
  const { second, minute, hour } = units[language.get()];
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}${NBSP}${second}`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}${NBSP}${minute} ${whole % 60}${NBSP}${second}`;
  return `${Math.floor(minutes / 60)}${NBSP}${hour} ${minutes % 60}${NBSP}${minute}`;
}

/** Three significant digits, and no exponent where none is needed; "–" for what is not a number. */
export function figure(value: number | null): string {
  if (value === null) return "–";
  if (Number.isInteger(value)) return value.toLocaleString(language.get());
  const size = Math.abs(value);
  if (size >= 100_000 || size < 0.001) return value.toExponential(1);
  return size >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** How much is done, in whole per cent that reach 100 only at the end. */
export function percent(done: number, total: number): number {
  return total > 0 ? Math.min(100, Math.floor((100 * done) / total)) : 0;
}

/** The same in words: "83 %". */
export function share(done: number, total: number): string {
  return `${percent(done, total)}${NBSP}%`;
}

const ACRONYMS = new Set(["sft", "ppo", "dpo"]);

/** "ppo-1" → "PPO 1": a stage or a policy as people say it. */
export function titleOf(stage: string): string {
  return stage
    .split("-")
    .map((word) => (ACRONYMS.has(word) ? word.toUpperCase() : word))
    .join(" ");
}

/** A key of the service's in words. */
export function spoken(key: string): string {
  return key.replaceAll("_", " ");
}

/** A plain number with a true minus sign: −0.09. */
export function plain(value: number, digits = 2): string {
  const shown = value.toFixed(digits);
  return (Number(shown) === 0 ? shown.replace("-", "") : shown).replace("-", "−");
}

/** A rate as a whole number of per cent, without the sign. */
export function rate(value: number): string {
  return String(Math.round(100 * value)).replace("-", "−");
}

/** A moment, given in seconds since 1970: "24 Oct 2026, 14:02". */
export function moment(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString(language.get() === "en" ? "en-GB" : language.get(), {
    dateStyle: "medium",
    timeStyle: "short",
  });
}

/** "base, SFT and PPO 1", in the language's own way. */
export function list(words: readonly string[]): string {
  return new Intl.ListFormat(language.get(), { type: "conjunction" }).format(words);
}
