// The same question, before and after: one column a stage.

import { element, plain, setText, spoken, titleOf } from "./words.js";

const list = document.getElementById("answers");
const lead = document.getElementById("answers-lead");
const more = document.getElementById("more-answers");
const FEW = 4;

let all = false;
let shown = null;

more.addEventListener("click", () => {
  all = !all;
  showAnswers(...shown);
});

/** `talk(stage)` gives a link that opens the chat with that stage, or null. */
export function showAnswers(details, talk) {
  shown = [details, talk];
  const { policies, evaluations } = details;
  const told = evaluations.filter((one) => one.transcripts.length);
  const questions = pick(told[0]?.transcripts ?? []);
  if (!questions.length) {
    setText(lead, "");
    more.hidden = true;
    list.replaceChildren(element("p", "empty", "Appears when the base model has been measured."));
    return;
  }
  const how = told[0].transcribed === "greedy" ? "greedily" : `at ${told[0].transcribed}`;
  const judged = questions.some((one) => one.gold !== null) ? " The small figure is the truth’s judgement of the answer, −2 to 1." : "";
  setText(lead, `Held-out questions, answered ${how}; none was chosen for its answers.${judged}`);
  more.hidden = questions.length <= FEW;
  setText(more, all ? "Show fewer" : `Show ${questions.length - FEW} more`);
  const blocks = (all ? questions : questions.slice(0, FEW)).map((one, n) => block(one, policies, told, n === 0));
  list.replaceChildren(heads(policies, told, talk), ...blocks);
}

/** The first question of each behaviour, in the order they were asked; all where they have none. */
function pick(rows) {
  const seen = new Set();
  return rows.filter(({ behaviour }) => !behaviour || (!seen.has(behaviour) && seen.add(behaviour)));
}

function heads(policies, told, talk) {
  const made = columns("heads", policies.length);
  made.append(...policies.map((stage) => {
    const cell = element("div", told.some((one) => one.stage === stage) ? "cell" : "cell later");
    cell.append(element("b", "", titleOf(stage)));
    const link = talk(stage);
    if (link) cell.append(link);
    return cell;
  }));
  return made;
}

function block(question, policies, told, first) {
  const made = element("article", "question");
  const asked = element("div", "asked");
  if (question.behaviour) asked.append(element("span", "tag", spoken(question.behaviour)));
  asked.append(...question.messages.map(([role, text]) => said(role, text)));
  const key = JSON.stringify(question.messages);
  const row = columns("row", policies.length);
  row.append(...policies.map((stage) => {
    const evaluation = told.find((one) => one.stage === stage);
    const exchange = evaluation?.transcripts.find((one) => JSON.stringify(one.messages) === key);
    return exchange ? answer(stage, exchange) : noAnswer(stage, evaluation !== undefined, first);
  }));
  made.append(asked, row);
  return made;
}

function said(role, text) {
  const made = element("p", role === "user" ? "said user" : "said other", text);
  made.prepend(element("span", "hidden", `${role}: `));
  return made;
}

function answer(stage, { reply, gold }) {
  const cell = element("div", "cell");
  cell.append(element("span", "of", titleOf(stage)), element("p", "reply", reply.trim() || "(no words)"));
  if (gold !== null) cell.append(element("small", gold > 0 ? "gold good" : "gold", `gold ${plain(gold, 1)}`));
  return cell;
}

/** Why there is none; said once for a stage that is still to come. */
function noAnswer(stage, measured, first) {
  const cell = element("div", "cell later");
  const why = measured ? "was not asked this" : first ? `appears when ${titleOf(stage)} has been measured` : "·";
  cell.append(element("span", "of", titleOf(stage)), element("p", "", why));
  return cell;
}

function columns(className, count) {
  const made = element("div", `columns ${className}`);
  made.style.setProperty("--columns", count);
  return made;
}
