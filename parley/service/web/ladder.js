// The ladder: behaviours down, stages across, each rate with its interval and a quiet bar behind it.

import { element, plain, rate, setText, spoken, titleOf } from "./words.js";

const box = document.getElementById("ladder-box");
const choice = document.getElementById("decodings");
const lead = document.getElementById("ladder-lead");

const UNWANTED = {
  asserts_false: "asserts a falsehood",
  complies_with_harm: "complies with harm",
  stock_phrase: "uses a stock phrase",
  junk: "holds junk",
};
const FIGURES = [
  ["bits_per_byte", "bits per byte of unseen text", 3],
  ["dialogue_loss", "loss on unseen dialogues, nats a token", 3],
  ["reward", "reward model’s mean score", 2],
  ["kl_nats", "KL of a reply to SFT, nats", 2],
  ["tokens", "tokens a reply", 1],
  ["ended", "replies that came to an end", 2],
];
const TOLD =
  "The share of answers that did what the prompt calls for, in per cent, with 95 % intervals, on facts kept out of training. " +
  "A bar is full up to the interval’s lower end and pale up to its upper end. ▼ marks a fall from the stage before whose interval excludes zero.";

let decoding = "T=0.7";
let shown = null;

choice.addEventListener("change", (event) => {
  decoding = event.target.value;
  showLadder(shown);
});

/** Shows what `details` has measured. */
export function showLadder(details) {
  shown = details;
  const { policies, evaluations } = details;
  const names = [...new Set(evaluations.flatMap((one) => one.decodings.map((found) => found.name)))];
  if (names.length && !names.includes(decoding)) decoding = names[0];
  showChoice(names);
  if (!evaluations.length) {
    setText(lead, "");
    box.replaceChildren(element("p", "empty", "Appears when the base model has been measured."));
    return;
  }
  setText(lead, names.length ? TOLD : "Measured on unseen words after every stage.");
  box.replaceChildren(names.length ? ladder(policies, evaluations) : wordsTable(policies, evaluations));
}

function showChoice(names) {
  choice.hidden = names.length < 2;
  const known = [...choice.querySelectorAll("input")].map((radio) => radio.value);
  if (known.join("\n") === names.join("\n")) return;
  choice.replaceChildren(...names.map(option));
}

function option(name) {
  const label = element("label", "", name === "greedy" ? "greedy" : `sampled ${name}`);
  const radio = element("input", "hidden");
  Object.assign(radio, { type: "radio", name: "decoding", value: name, checked: name === decoding });
  label.prepend(radio);
  return label;
}

function ladder(policies, evaluations) {
  const found = policies.map((stage) => evaluations.find((one) => one.stage === stage)?.decodings.find((one) => one.name === decoding));
  const keys = [...new Set(found.flatMap((one) => Object.keys(one?.behaviours ?? {})))].sort();
  const table = element("table", "ladder");
  const body = (title, rows) => {
    const group = element("tbody", "");
    if (title) group.append(groupRow(title, policies.length));
    group.append(...rows);
    return group;
  };
  table.append(
    head(policies, "behaviour"),
    body("", [
      rowOf("gold reward", found.map((one) => goldCell(one?.gold)), "total"),
      rowOf("mean over behaviours", rateCells(found.map((one) => one?.mean_success), 1), "total"),
    ]),
    body("Behaviours", keys.map((key) => rowOf(spoken(key), rateCells(found.map((one) => one?.behaviours[key]), 1)))),
    body("What nobody wants: less is better", Object.entries(UNWANTED)
      .filter(([key]) => found.some((one) => one?.rates[key]))
      .map(([key, title]) => rowOf(title, rateCells(found.map((one) => one?.rates[key]), -1), "unwanted"))),
  );
  return table;
}

function wordsTable(policies, evaluations) {
  const found = policies.map((stage) => evaluations.find((one) => one.stage === stage)?.figures ?? {});
  const rows = FIGURES.filter(([key]) => found.some((one) => key in one)).map(([key, title, digits]) =>
    rowOf(title, found.map((one) => figureCell(one[key], one[`${key} se`], digits))),
  );
  const table = element("table", "ladder");
  const body = element("tbody", "");
  body.append(...rows);
  table.append(head(policies, "figure"), body);
  return table;
}

function head(policies, first) {
  const made = element("thead", "");
  const row = element("tr", "");
  row.append(...[first, ...policies.map(titleOf)].map((title) => {
    const cell = element("th", "", title);
    cell.scope = "col";
    return cell;
  }));
  made.append(row);
  return made;
}

function groupRow(title, columns) {
  const row = element("tr", "group");
  const cell = element("th", "", title);
  cell.colSpan = columns + 1;
  cell.scope = "rowgroup";
  row.append(cell);
  return row;
}

function rowOf(title, cells, className = "") {
  const row = element("tr", className);
  const name = element("th", "", title);
  name.scope = "row";
  row.append(name, ...cells);
  return row;
}

/** `better` is 1 where more is better, −1 where less is. */
function rateCells(rates, better) {
  return rates.map((told, n) => {
    if (!told) return later();
    const cell = element("td", "");
    const [sure, maybe] = [element("i", "sure"), element("i", "maybe")];
    sure.style.width = `${100 * Math.max(0, told.low)}%`;
    maybe.style.width = `${100 * Math.min(1, told.high)}%`;
    const before = rates.slice(0, n).findLast((one) => one);
    cell.append(maybe, sure, element("b", "", rate(told.value)), element("small", "", `${rate(told.low)}–${rate(told.high)}`));
    if (before && isWorse(before, told, better)) cell.append(element("span", "worse", better > 0 ? "▼" : "▲"));
    cell.title = `n=${told.n.toLocaleString("en")}`;
    return cell;
  });
}

/** Whether the difference's 95 % interval (Newcombe) lies wholly on the bad side of zero. */
function isWorse(before, after, better) {
  const change = better * (after.value - before.value);
  const [mine, other] = better > 0 ? [after.high - after.value, before.value - before.low] : [after.value - after.low, before.high - before.value];
  return change + Math.hypot(mine, other) < 0;
}

function goldCell(gold) {
  if (!gold) return later();
  const cell = element("td", "wide");
  cell.append(element("b", "", plain(gold.value)), element("small", "", `${plain(gold.low)} to ${plain(gold.high)}`));
  return cell;
}

function figureCell(value, error, digits) {
  if (value === undefined) return later();
  const cell = element("td", "");
  cell.append(element("b", "", plain(value, digits)));
  if (error !== undefined) cell.append(element("small", "", `± ${plain(1.96 * error, digits)}`));
  return cell;
}

function later() {
  const cell = element("td", "later", "·");
  cell.setAttribute("aria-label", "not measured yet");
  return cell;
}
