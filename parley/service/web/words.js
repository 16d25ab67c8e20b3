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

/** A new element with text. Text is only ever set as text: nothing that anybody wrote becomes markup. */
export function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
