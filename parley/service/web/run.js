// The run panel: stages, their state and figures, and what remains.

import { duration, element, figure, percent, share } from "./words.js";

const panel = document.getElementById("run");
const toggle = document.getElementById("run-toggle");
const summary = document.getElementById("run-summary");
const title = document.getElementById("run-title");
const state = document.getElementById("run-state");
const list = document.getElementById("stages");
const rows = new Map();

toggle.addEventListener("click", () => {
  toggle.setAttribute("aria-expanded", String(toggle.getAttribute("aria-expanded") !== "true"));
});

/** Shows the run as it is now. */
export function showRun(run) {
  panel.hidden = run.state === "none";
  set(title, run.recipe);
  const now = sentence(run);
  set(state, now);
  state.classList.toggle("bad", run.state === "failed");
  set(summary, [run.recipe, current(run), now].filter(Boolean).join(" · "));
  const names = run.stages.map((stage) => stage.name);
  if (names.join("\n") !== [...rows.keys()].join("\n")) rebuild(names);
  for (const stage of run.stages) showStage(rows.get(stage.name), stage);
}

/** One sentence on how long it takes until there is somebody to talk to. */
export function makingOf(run) {
  if (run.state === "failed") return `The run failed: ${run.message || "see the terminal for the reason"}`;
  if (run.state !== "running") {
    return "There is no release to talk to yet. “parley up” in a terminal makes one.";
  }
  const stage = run.stages.find((one) => one.state === "running");
  const how = stage ? ` ${stage.label}: ${progressOf(stage)}.` : "";
  return `The assistant is being made.${how} The box below wakes up by itself when its first version is there.`;
}

function sentence(run) {
  if (run.message) return run.message;
  if (run.state === "running") {
    return run.remaining_seconds === null ? "running" : `${duration(run.remaining_seconds)} left`;
  }
  const total = run.stages.reduce((sum, stage) => sum + stage.seconds, 0);
  return { done: `done in ${duration(total)}`, failed: "failed", stopped: "stopped" }[run.state] ?? "";
}

function current(run) {
  const stage = run.stages.find((one) => one.state === "running");
  return stage ? `${stage.label} ${share(stage.done, stage.total)}` : "";
}

function progressOf(stage) {
  const done = share(stage.done, stage.total);
  return stage.remaining_seconds === null ? done : `${done}, ${duration(stage.remaining_seconds)} left`;
}

function rebuild(names) {
  rows.clear();
  for (const name of names) rows.set(name, row());
  list.replaceChildren(...[...rows.values()].map((made) => made.item));
}

function row() {
  const item = element("li", "stage");
  const sign = element("span", "sign");
  sign.setAttribute("aria-hidden", "true");
  const label = element("span", "label");
  const when = element("span", "when");
  const bar = document.createElement("progress");
  bar.max = 100;
  const figures = element("div", "figures");
  item.append(sign, label, when, bar, figures);
  return { item, label, when, bar, figures };
}

function showStage(made, stage) {
  made.item.className = `stage ${stage.state}`;
  set(made.label, stage.label);
  set(made.when, whenOf(stage));
  made.bar.hidden = stage.state !== "running";
  made.bar.value = percent(stage.done, stage.total);
  made.bar.setAttribute("aria-label", stage.label);
  const figures = Object.entries(stage.figures);
  const text = figures.map(([name, value]) => `${name} ${figure(value)}`).join("\n");
  if (made.figures.dataset.shown === text) return;
  made.figures.dataset.shown = text;
  made.figures.replaceChildren(...figures.map(([name, value]) => pair(name, value)));
}

function pair(name, value) {
  const made = element("span", "", `${name.replaceAll("_", " ")} `);
  made.append(element("b", "", figure(value)));
  return made;
}

function whenOf(stage) {
  if (stage.state === "running") return progressOf(stage).replace(", ", " · ");
  if (stage.state === "done") return duration(stage.seconds);
  return stage.state;
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
