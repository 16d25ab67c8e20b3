// The strip of stages: one step each; measuring and releasing belong to the stage that they follow.

import { duration, element, figure, percent, setText, share, titleOf } from "./words.js";

const list = document.getElementById("steps");
const news = document.getElementById("news");
const made = new Map(); // name → its nodes
// What is told of a stage: the figure's name with the server, and with people.
const FIGURES = {
  data: ["demonstrations", "dialogues"],
  tokenizer: ["tokens", "tokens"],
  base: ["loss", "loss"],
  sft: ["loss", "loss"],
  rank: ["pairs", "pairs"],
  reward: ["accuracy", "accuracy"],
  ppo: ["score", "proxy"],
};

let done = null; // the stages that were done when we last looked

/** `talk(stage)` gives a link to a finished stage's release, or null. */
export function showSteps(stages, talk) {
  const steps = stages.filter(({ name }) => !/^(evaluate|release)-/.test(name));
  const names = steps.map((stage) => stage.name);
  if (names.join("\n") !== [...made.keys()].join("\n")) rebuild(names);
  for (const stage of steps) {
    showStep(made.get(stage.name), stage, stages.find(({ name }) => name === `evaluate-${stage.name}`), talk(stage.name));
  }
  tellNews(stages);
}

function rebuild(names) {
  made.clear();
  for (const name of names) made.set(name, step());
  list.replaceChildren(...[...made.values()].map((nodes) => nodes.item));
}

function step() {
  const nodes = { item: element("li", "step"), sign: element("span", "sign"), name: element("b", ""), when: element("span", "when"), bar: document.createElement("progress"), more: element("span", "also") };
  nodes.sign.setAttribute("aria-hidden", "true");
  nodes.bar.max = 100;
  const top = element("span", "top");
  top.append(nodes.sign, nodes.name);
  nodes.item.append(top, nodes.when, nodes.bar, nodes.more);
  return nodes;
}

function showStep(nodes, stage, measuring, link) {
  const isMeasuring = measuring?.state === "running";
  const state = isMeasuring ? "running" : stage.state;
  nodes.item.className = `step ${state}`;
  setText(nodes.name, titleOf(stage.name));
  setText(nodes.when, isMeasuring ? `measuring ${share(measuring.done, measuring.total)}` : whenOf(stage));
  const now = isMeasuring ? measuring : stage;
  nodes.bar.hidden = state !== "running";
  nodes.bar.value = percent(now.done, now.total);
  nodes.bar.setAttribute("aria-label", `${titleOf(stage.name)}${isMeasuring ? ", measuring" : ""}`);
  const text = figureOf(stage);
  const key = `${text}\n${link?.href ?? ""}`;
  if (nodes.more.dataset.shown === key) return;
  nodes.more.dataset.shown = key;
  nodes.more.replaceChildren(...[text && element("span", "", text), link].filter(Boolean));
}

function whenOf(stage) {
  if (stage.state === "done") return duration(stage.seconds);
  if (stage.state !== "running") return stage.state === "failed" ? "failed" : "waiting";
  const part = share(stage.done, stage.total);
  return stage.remaining_seconds === null ? part : `${part} · ${duration(stage.remaining_seconds)} left`;
}

function figureOf(stage) {
  const [name, words] = FIGURES[stage.name.split("-")[0]] ?? [];
  const value = stage.figures[name];
  return value === undefined || value === null ? "" : `${words} ${figure(value)}`;
}

function tellNews(stages) {
  const now = new Set(stages.filter((stage) => stage.state === "done").map((stage) => stage.name));
  const fresh = done === null ? [] : [...now].filter((name) => !done.has(name) && !name.startsWith("release-"));
  done = now;
  if (fresh.length) setText(news, `Finished: ${fresh.map(titleOf).join(", ")}`);
}
