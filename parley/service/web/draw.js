// Drawing with SVG: elements, scales, axes. Text only ever as text.

const NAMESPACE = "http://www.w3.org/2000/svg";

/** An SVG element with attributes and children (elements or text). */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A picture that says in words what it shows. */
export function picture(width, height, label, ...children) {
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...children);
}

/** From values to pixels; `log` for positive values over several magnitudes. */
export function scale([low, high], [from, to], log = false) {
  const on = log ? Math.log : Number;
  const span = on(high) - on(low) || 1;
  return (value) => from + ((on(value) - on(low)) / span) * (to - from);
}

/** The smallest and largest of the values, and a little room. */
export function extent(values, room = 0.06) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const more = (high - low) * room || Math.abs(high) * 0.1 || 0.5;
  return [low - more, high + more];
}

/** About `count` round values within the domain. */
export function ticks([low, high], count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, n) => Number(((first + n) * step).toPrecision(10)));
}

/** 1, 2, 5, 10 … within the domain. */
export function logTicks([low, high]) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const n of [1, 2, 5]) found.push(Number((n * 10 ** power).toPrecision(3)));
  }
  return found.filter((value) => value >= low && value <= high);
}

/** A tick's number, short, with a true minus sign. */
export function tickText(value) {
  const shown = Math.abs(value) >= 10_000 ? `${value / 1000}k` : String(value);
  return shown.replace("-", "−");
}

/** A text; `anchor` is start, middle or end. */
export function label(x, y, text, anchor = "middle", className = "tick") {
  return svg("text", { x: round(x), y: round(y), "text-anchor": anchor, class: className }, text);
}

/** A straight line. */
export function line(x1, y1, x2, y2, className) {
  return svg("line", { x1: round(x1), y1: round(y1), x2: round(x2), y2: round(y2), class: className });
}

/** A line through points of pixels. */
export function path(points, className) {
  const d = points.map(([x, y], n) => `${n ? "L" : "M"}${round(x)} ${round(y)}`).join("");
  return svg("path", { d, class: className });
}

/** A dot with a word on it for whoever points at it. */
export function dot(x, y, radius, className, title = "") {
  const made = svg("circle", { cx: round(x), cy: round(y), r: radius, class: className });
  if (title) made.append(svg("title", {}, title));
  return made;
}

/** Horizontal rules with their numbers at the left. */
export function rules(values, y, left, right) {
  return values.flatMap((value) => [
    line(left, y(value), right, y(value), value === 0 ? "rule zero" : "rule"),
    label(left - 6, y(value) + 3.5, tickText(value), "end"),
  ]);
}

/** Means over a window that moves along, as points of its mean place. */
export function movingMean(points, window) {
  const half = Math.floor(window / 2);
  return points.map((_, n) => {
    const near = points.slice(Math.max(0, n - half), n + half + 1);
    return [0, 1].map((axis) => near.reduce((sum, point) => sum + point[axis], 0) / near.length);
  });
}

const redrawn = new WeakMap(); // holder → what draws it
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) redraw(target);
});

/** Keeps `holder` filled with what `draw(width)` makes, also when its width changes. */
export function keepDrawn(holder, draw) {
  const known = redrawn.has(holder);
  redrawn.set(holder, { draw, width: 0 });
  if (!known) sizes.observe(holder);
  redraw(holder);
}

function redraw(holder) {
  const kept = redrawn.get(holder);
  const width = Math.floor(holder.clientWidth);
  if (!width || kept.width === width) return;
  kept.width = width;
  holder.replaceChildren(kept.draw(width));
}

function round(value) {
  return Math.round(value * 10) / 10;
}
