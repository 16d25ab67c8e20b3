// Numbers for people. A number and its unit stay on one line.

const NBSP = "\u00a0";

/** 41.2 → "41 s", 192 → "3 min 12 s", 3840 → "1 h 4 min". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}${NBSP}s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}${NBSP}min ${whole % 60}${NBSP}s`;
  return `${Math.floor(minutes / 60)}${NBSP}h ${minutes % 60}${NBSP}min`;
}

/** Three significant digits, and no exponent where none is needed; "–" for what is not a number. */
export function figure(value) {
  if (value === null) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 100_000 || size < 0.001) return value.toExponential(1);
  return size >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** How much is done, in whole percent that reach 100 only at the end. */
export function percent(done, total) {
  return total > 0 ? Math.min(100, Math.floor((100 * done) / total)) : 0;
}

/** The same in words: "83 %". */
export function share(done, total) {
  return `${percent(done, total)}${NBSP}%`;
}

const ACRONYMS = new Set(["sft", "ppo", "dpo"]);

/** "ppo-1" → "PPO 1": a stage or a policy as people say it. */
export function titleOf(stage) {
  return stage.split("-").map((word) => (ACRONYMS.has(word) ? word.toUpperCase() : word)).join(" ");
}

/** A key of the server's in words. */
export function spoken(key) {
  return key.replaceAll("_", " ");
}

/** A plain number with a true minus sign: −0.09. */
export function plain(value, digits = 2) {
  const shown = value.toFixed(digits);
  return (Number(shown) === 0 ? shown.replace("-", "") : shown).replace("-", "−");
}

/** A rate as a whole number of per cent, without the sign. */
export function rate(value) {
  return String(Math.round(100 * value));
}

/** Sets a text where it is another one, so that screen readers hear of changes alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A new element with text. Text is only ever set as text: nothing that anybody wrote becomes markup. */
export function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
