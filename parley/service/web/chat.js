// The conversation with one release at a time.

import { focusBox, giveBack, showDock, tellProblem } from "./dock.js";
import { chosen } from "./releases.js";
import { hush, nodesOf, revived, sentences, toEnd, write } from "./turns.js";

const list = document.getElementById("turns");

let said = [];
let controller = null; // while a reply is written
let onChange = () => {};

/** `turns` is what an earlier page left; `changed` hears of every change worth keeping. */
export function startChat(turns, changed) {
  onChange = changed;
  said = turns.map(revived);
  for (const turn of said) list.append(nodesOf(turn).item);
}

export const chat = {
  ready: () => chosen() !== null,
  writing: () => controller !== null,
  empty: () => said.length === 0,
  turns: () => said,
  stop: () => controller?.abort(),
  show(here) {
    list.hidden = !here;
  },
  clear() {
    chat.stop();
    said = [];
    list.replaceChildren();
    hush();
    onChange();
  },
  send,
};

async function send(text) {
  const release = chosen();
  const mine = (controller = new AbortController());
  hush();
  const asked = add({ role: "user", text });
  const turn = { role: "assistant", text: "", by: release.label, ended: "" };
  const nodes = add(turn);
  showDock();
  toEnd();
  onChange();
  const problem = await write(turn, nodes, history(turn), release.name, mine.signal, sentences());
  if (controller === mine) controller = null;
  if (problem && said.includes(turn)) fail(turn, nodes, asked, problem); // else a new chat was begun meanwhile
  showDock();
  focusBox();
  onChange();
}

/** What the release is told: everything before this turn that has words. */
function history(turn) {
  const before = said.slice(0, said.indexOf(turn)).filter((one) => one.text);
  return before.map(({ role, text }) => ({ role, text }));
}

function fail(turn, nodes, asked, problem) {
  if (turn.text) {
    tellProblem(problem, "What was written is kept; ask again to go on.");
    return;
  }
  nodes.item.remove();
  asked.item.remove();
  const question = said.splice(said.indexOf(turn) - 1, 2)[0];
  giveBack(question.text);
  tellProblem(problem, "Your message is back in the box; send it again.");
}

function add(turn) {
  said.push(turn);
  const nodes = nodesOf(turn);
  list.append(nodes.item);
  return nodes;
}
