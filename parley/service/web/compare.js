// One question to every release of the newest run: the answers side by side, each with a conversation of its own.

import { giveBack, showDock, tellProblem } from "./dock.js";
import { compared } from "./releases.js";
import { atOnce, hush, nodesOf, revived, toEnd, write } from "./turns.js";
import { element } from "./words.js";

const list = document.getElementById("rounds");
const AT_ONCE = 4; // a browser opens six connections; the page needs some for itself

// A round: text, and answers, each a turn with release (its name).
let rounds = [];
let controller = null;
let onChange = () => {};

/** `kept` is what an earlier page left; `changed` hears of every change worth keeping. */
export function startCompare(kept, changed) {
  onChange = changed;
  rounds = kept.map((round) => ({ ...round, answers: round.answers.map(revived) }));
  for (const round of rounds) draw(round);
}

export const compare = {
  ready: () => compared().length > 0,
  writing: () => controller !== null,
  empty: () => rounds.length === 0,
  rounds: () => rounds,
  stop: () => controller?.abort(),
  show(here) {
    list.hidden = !here;
  },
  clear() {
    compare.stop();
    rounds = [];
    list.replaceChildren();
    hush();
    onChange();
  },
  send,
};

async function send(text) {
  const mine = (controller = new AbortController());
  hush();
  const answers = compared().map(({ name, label }) => ({ role: "assistant", release: name, by: label, text: "", ended: "" }));
  const round = { text, answers };
  rounds.push(round);
  const drawn = draw(round);
  showDock();
  toEnd();
  onChange();
  const problems = await writeAll(round, drawn.cells, mine.signal);
  if (controller === mine) controller = null;
  if (problems.length && rounds.includes(round)) fail(round, drawn, problems[0]);
  showDock();
  onChange();
}

/** A few at a time, in the releases' order. Resolves with the problems there were. */
async function writeAll(round, cells, signal) {
  const waiting = round.answers.map((answer, n) => [answer, cells[n]]);
  const problems = [];
  const one = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [answer, nodes] = next;
      const problem = await write(answer, nodes, history(round, answer.release), answer.release, signal, atOnce(answer));
      if (problem) problems.push(problem);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  return problems;
}

/** What a release is told: its own answers so far, each with its question, and the question of now. */
function history(round, release) {
  const before = rounds.slice(0, rounds.indexOf(round)).flatMap(({ text, answers }) => {
    const own = answers.find((answer) => answer.release === release && answer.text);
    return own ? [{ role: "user", text }, { role: "assistant", text: own.text }] : [];
  });
  return [...before, { role: "user", text: round.text }];
}

function fail(round, { item }, problem) {
  if (round.answers.some((answer) => answer.text)) {
    tellProblem(problem, "The other answers are kept; ask again to hear all.");
    return;
  }
  rounds.splice(rounds.indexOf(round), 1);
  item.remove();
  giveBack(round.text);
  tellProblem(problem, "Your message is back in the box; send it again.");
}

function draw(round) {
  const item = element("li", "round");
  const answers = element("div", "answers");
  answers.setAttribute("role", "group");
  answers.setAttribute("aria-label", "Answers");
  const cells = round.answers.map((answer) => nodesOf(answer, "div"));
  answers.append(...cells.map((cell) => cell.item));
  item.append(nodesOf({ role: "user", text: round.text }, "div").item, answers);
  list.append(item);
  const columns = Math.max(...rounds.map((one) => one.answers.length));
  list.style.setProperty("--columns", columns);
  return { item, cells };
}
