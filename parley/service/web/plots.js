// The run's charts. Each takes values and a width, and returns a picture.

import { dot, extent, label, line, logTicks, movingMean, path, picture, rules, scale, svg, tickText, ticks } from "./draw.js";
import { plain, rate, spoken, titleOf } from "./words.js";

const SERVED = "T=0.7";

/** Gold reward by policy: sampled and greedy, with whiskers. `policies` also names those not measured yet. */
export function goldPlot(policies, evaluations, width) {
  const [left, right, top, bottom] = [34, width - 14, 18, 260];
  const shown = evaluations.flatMap(({ stage, decodings }) =>
    decodings.map((decoding) => ({ stage, gold: decoding.gold, series: seriesOf(decoding.name, decodings) })),
  ).filter(({ series }) => series);
  const all = shown.flatMap(({ gold }) => [gold.low, gold.high]);
  const domain = extent([...all, 0, 1], 0.04);
  const y = scale(domain, [bottom, top]);
  const step = (right - left) / policies.length;
  const x = (stage) => left + step * (policies.indexOf(stage) + 0.5);
  const names = policies.map((stage) => {
    const measured = shown.some((one) => one.stage === stage);
    return label(x(stage), bottom + 20, titleOf(stage), "middle", measured ? "name" : "name later");
  });
  const marks = ["greedy", "sampled"].flatMap((series) => goldSeries(shown.filter((one) => one.series === series), x, y, series));
  return picture(width, bottom + 30, goldInWords(shown), ...rules(ticks(domain, 5), y, left, right), ...names, ...marks);
}

/** What is served is `sampled`; where the run does not measure that, its first decoding. */
function seriesOf(name, decodings) {
  if (name === "greedy") return "greedy";
  const served = decodings.some((one) => one.name === SERVED) ? SERVED : decodings[0].name;
  return name === served ? "sampled" : null;
}

function goldSeries(points, x, y, series) {
  const shift = series === "greedy" ? 6 : -6;
  const places = points.map(({ stage, gold }) => [x(stage) + shift, y(gold.value)]);
  const marks = points.flatMap(({ stage, gold }, n) => {
    const [at, height] = places[n];
    const said = `${titleOf(stage)}, ${series}: ${plain(gold.value)} (${plain(gold.low)} to ${plain(gold.high)}, n=${gold.n})`;
    const ends = [gold.low, gold.high].map((value) => line(at - 4, y(value), at + 4, y(value), `whisker ${series}`));
    const whisker = [line(at, y(gold.low), at, y(gold.high), `whisker ${series}`), ...ends, dot(at, height, 3.5, `mark ${series}`, said)];
    if (series === "sampled") whisker.push(label(at + 7, height + 17, plain(gold.value), "start", "value"));
    return whisker;
  });
  return [path(places, `trend ${series}`), ...marks];
}

function goldInWords(shown) {
  const said = shown.map(({ stage, series, gold }) => `${titleOf(stage)} ${series} ${plain(gold.value)}`);
  return `Gold reward by stage: ${said.join(", ")}`;
}

/** Accuracy over all and by behaviour, one row each; the newest round strongest. */
export function accuracyPlot(agreements, width) {
  const names = [...new Set(agreements.flatMap((one) => Object.keys(one.by_source)))].sort();
  const rows = ["", ...names];
  const [left, right, top, height] = [Math.min(132, width * 0.36), width - 42, 8, 18];
  const bottom = top + rows.length * height;
  const lowest = Math.min(0.5, ...agreements.flatMap((one) => [one.overall, ...Object.values(one.by_source)].map((told) => told.low)));
  const domain = [Math.max(0, Math.floor(lowest * 10) / 10), 1];
  const x = scale(domain, [left, right]);
  const columns = ticks(domain, 5).flatMap((value) => [
    line(x(value), top, x(value), bottom, value === 0.5 ? "rule zero" : "rule"),
    label(x(value), bottom + 14, rate(value)),
  ]);
  const marks = rows.flatMap((name, n) => accuracyRow(agreements, name, x, top + (n + 0.5) * height, left, right));
  const said = agreements.map((one) => `${titleOf(one.stage)} ${rate(one.overall.value)} %`);
  return picture(width, bottom + 20, `Accuracy over all rankings: ${said.join(", ")}`, ...columns, ...marks);
}

function accuracyRow(agreements, name, x, y, left, right) {
  const told = agreements.map((one) => [one.stage, name ? one.by_source[name] : one.overall]).filter(([, found]) => found);
  const marks = told.flatMap(([stage, { value, low, high, n }], index) => {
    const age = index === told.length - 1 ? "new" : "old";
    const at = told.length > 1 ? y + (age === "new" ? 3 : -3) : y;
    const said = `${name ? spoken(name) : "all"}, ${titleOf(stage)}: ${rate(value)} % (${rate(low)} to ${rate(high)}, n=${n})`;
    return [line(x(low), at, x(high), at, `whisker ${age}`), dot(x(value), at, age === "new" ? 4 : 3, `mark ${age}`, said)];
  });
  const last = told.at(-1);
  const figure = last ? [label(right + 10, y + 4, rate(last[1].value), "start", name ? "value" : "value strong")] : [];
  return [label(left - 10, y + 4, name ? spoken(name) : "all", "end", name ? "name" : "name strong"), ...marks, ...figure];
}

/** Proxy above, gold below, over the same KL. */
export function cloudPlot(curve, width) {
  const kl = curve.columns.kl_nats;
  const [left, right] = [38, width - 46];
  const known = kl.filter((value) => value !== null);
  const domain = extent(known, 0.04).map((value) => Math.max(0, value));
  const x = scale(domain, [left, right]);
  const panels = [["score", "proxy"], ["gold", "gold"]].filter(([name]) => curve.columns[name]?.some((value) => value !== null));
  const height = 128;
  const marks = panels.flatMap(([name, series], n) => {
    const points = kl.map((value, row) => [value, curve.columns[name][row]]).filter((point) => !point.includes(null));
    return panel(points, series, x, [left, right], [n * height + 22, (n + 1) * height - 8]);
  });
  const bottom = panels.length * height - 8;
  const axis = ticks(domain, width / 90).map((value) => label(x(value), bottom + 18, tickText(value)));
  const unit = label((left + right) / 2, bottom + 36, "KL to SFT, nats a reply", "middle", "unit");
  return picture(width, bottom + 42, cloudInWords(curve), ...marks, ...axis, unit);
}

function panel(points, series, x, [left, right], [top, bottom]) {
  const domain = extent(points.map((point) => point[1]));
  const y = scale(domain, [bottom, top]);
  const means = movingMean(points, Math.max(5, Math.floor(points.length / 6)));
  const places = means.map(([at, value]) => [x(at), y(value)]);
  const end = places.at(-1);
  return [
    label(left, top - 8, series === "proxy" ? "proxy: the reward model’s score" : "gold", "start", `series ${series}`),
    ...rules(ticks(domain, 3), y, left, right),
    ...points.map((point) => dot(x(point[0]), y(point[1]), 2.2, `speck ${series}`)),
    path(places, `trend ${series}`),
    dot(...places[0], 3, `start ${series}`),
    dot(...end, 4, `mark ${series}`),
    label(right + 8, end[1] + 4, plain(means.at(-1)[1]), "start", `value ${series}`),
  ];
}

function cloudInWords({ stage, columns }) {
  const ends = (name) => {
    const values = (columns[name] ?? []).filter((value) => value !== null);
    return values.length ? `${plain(values[0])} to ${plain(values.at(-1))}` : "not measured";
  };
  return `${titleOf(stage)}: proxy from ${ends("score")}, gold from ${ends("gold")}, KL from ${ends("kl_nats")}`;
}

/** One figure over a stage's steps. */
export function curvePlot(curve, name, width) {
  const points = curve.columns.step.map((step, n) => [step, curve.columns[name][n]]).filter((point) => point[1] !== null);
  const values = points.map((point) => point[1]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const log = low > 0 && high / low > 4;
  const domain = log ? [low * 0.92, high * 1.08] : extent(values);
  const [left, right, top, bottom] = [36, width - 40, 8, 118];
  const x = scale([points[0][0], points.at(-1)[0]], [left, right]);
  const y = scale(domain, [bottom, top], log);
  const marked = log ? thinned(logTicks(domain)) : ticks(domain, 3);
  const means = movingMean(points, Math.max(3, Math.floor(points.length / 12)));
  const [last, value] = [points.at(-1)[0], means.at(-1)[1]];
  return picture(
    width,
    bottom + 22,
    `${titleOf(curve.stage)}: from ${plain(values[0])} to ${plain(value)} after ${last} steps`,
    ...rules(marked, y, left, right),
    path(points.map(([step, one]) => [x(step), y(one)]), "trend raw"),
    path(means.map(([step, one]) => [x(step), y(one)]), "trend loss"),
    dot(x(last), y(value), 3.5, "mark loss"),
    label(right + 7, y(value) + 4, plain(value), "start", "value"),
    label(left, bottom + 18, tickText(points[0][0]), "start"),
    label(right, bottom + 18, `${last.toLocaleString("en")} steps`, "end"),
    ...(log ? [svg("title", {}, "The scale is logarithmic.")] : []),
  );
}

function thinned(values) {
  return values.length > 4 ? values.filter((value) => /^0?\.?0*1/.test(String(value)) || values.length < 4) : values;
}
