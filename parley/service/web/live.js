// The run's page: keeps everything on it in step with the run.

import { read, readChanged } from "./api.js";
import { showAnswers } from "./answers.js";
import { keepDrawn } from "./draw.js";
import { showLadder } from "./ladder.js";
import { accuracyPlot, cloudPlot, curvePlot, goldPlot } from "./plots.js";
import { showSteps } from "./steps.js";
import { duration, element, setText, titleOf } from "./words.js";
import { watch } from "./watch.js";

const STEP_MS = 2_000;
const IDLE_MS = 10_000; // another run may begin
const LOSSES = { loss: "loss", value_loss: "critic loss" };

const byId = (id) => document.getElementById(id);
const holders = new Map(); // section and stage → its card
const shown = new WeakMap(); // plot → what it shows
let details = null;
let etag = null;
let links = "";
let trainedBefore = "";

async function look() {
  const [run, { releases }, changed] = await Promise.all([read("/api/run"), read("/api/releases"), readChanged("/api/run/details", etag)]);
  if (changed) ({ value: details, etag } = changed);
  const cut = new Map(releases.filter((one) => one.run === details.run).map((one) => [one.stage, one]));
  const talk = (stage) => talkLink(cut.get(stage));
  showHead(run);
  showSteps(run.stages, talk);
  const now = JSON.stringify([...cut.keys()]);
  if (changed || now !== links) showAnswers(details, talk);
  links = now;
  showCharts(run);
  if (changed) {
    showLadder(details);
    showSources();
  }
  return run.state === "running" ? STEP_MS : IDLE_MS;
}

function talkLink(release) {
  if (!release) return null;
  const link = element("a", "talk", "talk to it");
  link.href = `/#talk=${encodeURIComponent(release.name)}`;
  link.setAttribute("aria-label", `Talk to ${titleOf(release.stage)}`);
  return link;
}

function showHead(run) {
  const { seed, plan } = details;
  document.body.classList.toggle("no-run", run.state === "none");
  setText(byId("recipe"), run.state === "none" ? "No run yet" : run.recipe);
  const threads = plan.threads ? `${plan.threads} ${plan.threads === "1" ? "thread" : "threads"}` : "";
  const parts = [seed === null ? "" : `seed ${seed}`, plan.device ?? "", threads, plan.linear ?? ""];
  const made = parts.filter(Boolean).join(" · ");
  setText(byId("made-with"), run.state === "none" ? "“parley up” in a terminal starts one; it is shown here while it goes." : made);
  setText(byId("left"), leftOf(run));
  byId("message").hidden = !run.message;
  byId("message").className = run.state === "failed" ? "message bad" : "message";
  setText(byId("message"), run.message);
  document.title = run.state === "running" && run.remaining_seconds !== null ? `${duration(run.remaining_seconds)} left · parley` : "Run · parley";
}

function leftOf(run) {
  if (run.state === "running") return run.remaining_seconds === null ? "running" : `${duration(run.remaining_seconds)} left`;
  const total = run.stages.reduce((sum, stage) => sum + stage.seconds, 0);
  return { done: `done in ${duration(total)}`, failed: "failed", stopped: "stopped" }[run.state] ?? "";
}

function showCharts(run) {
  const { policies, evaluations, agreements, curves } = details;
  const judged = evaluations.filter((one) => one.decodings.length);
  const onWords = evaluations.length > 0 && !judged.length;
  chart(byId("gold"), judged.length ? [policies, judged] : null, goldPlot,
    onWords ? "This run learns from people’s words: no exact truth judges it. See the table below." : "Appears when the base model has been measured.");
  showAccuracyKey(agreements);
  chart(byId("accuracy"), agreements.length ? [agreements] : null, accuracyPlot, "Appears when the first reward model has been trained.");
  const trained = run.stages.filter((stage) => !/^(evaluate|release|data|tokenizer|rank)/.test(stage.name)).map((stage) => stage.name);
  forgetOthers(trained.join());
  const known = new Map(curves.map((curve) => [curve.stage, curve]));
  byId("kl-title").parentElement.hidden = run.stages.length > 0 && !trained.some((name) => name.startsWith("ppo"));
  for (const name of trained.filter((one) => one.startsWith("ppo"))) {
    const curve = known.get(name);
    chart(card("clouds", name, titleOf(name)), curve?.columns.kl_nats && curve.columns.score ? [curve] : null, cloudPlot, `Appears with the first steps of ${titleOf(name)}.`);
  }
  for (const name of trained) {
    const curve = known.get(name);
    const figure = Object.keys(LOSSES).find((one) => curve?.columns[one]);
    const title = `${titleOf(name)} · ${LOSSES[figure] ?? (name.startsWith("ppo") ? LOSSES.value_loss : LOSSES.loss)}`;
    chart(card("losses", name, title), figure ? [curve, figure] : null, curvePlot, `Appears when ${titleOf(name)} is trained.`);
  }
}

/** Another run has other stages. */
function forgetOthers(stages) {
  if (stages === trainedBefore) return;
  trainedBefore = stages;
  for (const made of holders.values()) made.remove();
  holders.clear();
}

/** The card of a stage in a section, made where it is not there. */
function card(section, stage, title) {
  const id = `${section}-${stage}`;
  const found = holders.get(id);
  if (found) return found;
  const made = element("figure", "card");
  const caption = element("figcaption", "");
  caption.append(element("h4", "", title));
  made.append(caption);
  byId(section).append(made);
  holders.set(id, made);
  return made;
}

/** Draws `values` into a card where they changed; says what will stand there while there are none. */
function chart(figure, values, plot, otherwise) {
  let holder = figure.querySelector(".plot");
  if (!holder) {
    holder = element("div", "plot");
    figure.append(holder);
  }
  figure.classList.toggle("waiting", values === null);
  const now = values ? JSON.stringify(values) : otherwise;
  if (shown.get(holder) === now) return;
  shown.set(holder, now);
  keepDrawn(holder, (width) => (values ? plot(...values, width) : element("p", "empty", otherwise)));
}
function showAccuracyKey(agreements) {
  const titles = agreements.slice(-2).map((one) => titleOf(one.stage));
  const key = byId("accuracy-key");
  if (key.dataset.shown === titles.join()) return;
  key.dataset.shown = titles.join();
  key.replaceChildren(...titles.map((title, n) => element("span", n === titles.length - 1 ? "new" : "old", title)));
}

function showSources() {
  const table = element("table", "plain");
  const rows = details.sources.map(({ stage, directory, digest, seconds, finished }) => {
    const row = element("tr", "");
    const when = new Date(finished * 1000).toLocaleString("en-GB");
    row.append(...[titleOf(stage), duration(seconds), when, directory, digest.slice(0, 12)].map((text) => element("td", "", text)));
    return row;
  });
  const head = element("tr", "");
  head.append(...["stage", "took", "finished", "directory", "digest"].map((text) => element("th", "", text)));
  table.append(head, ...rows);
  byId("sources").replaceChildren(rows.length ? table : element("p", "empty", "Nothing is finished yet."));
}

watch(look, "what is shown stays");
