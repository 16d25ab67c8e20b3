// One turn of a conversation: how it looks, how it grows, how it is spoken.

import { Problem, reply } from "./api.js";
import { element } from "./words.js";

const scroller = document.getElementById("scroller");
const spoken = document.getElementById("spoken");

const NEAR_END_PX = 80;
const SENTENCE = /[.!?…]\s|\n/;
const ENDS = { stopped: "stopped", length: "cut at its length limit", broken: "broke off" };

/** The elements of a turn: role, text, and of a reply also by (the release's label) and ended (how; ""
 * while it is written). */
export function nodesOf(turn, tag = "li") {
  const mine = turn.role === "user";
  const item = element(tag, mine ? "turn user" : "turn reply");
  item.append(element("span", "hidden", mine ? "You: " : "parley: "));
  const text = element("div", "text", mine ? turn.text : turn.text.trimStart()); // a base model begins with a blank
  item.append(text);
  const nodes = { item, text };
  if (!mine) {
    item.classList.toggle("writing", turn.ended === "");
    nodes.meta = element("div", "meta");
    item.append(nodes.meta);
    showMeta(turn, nodes);
  }
  return nodes;
}

/** A turn that an earlier page left: what was being written then is stopped now. */
export function revived(turn) {
  return turn.ended === "" ? { ...turn, ended: "stopped" } : turn;
}

/** Lets `release` write `turn`. Resolves with the problem that ended it, or with null. */
export async function write(turn, nodes, messages, release, signal, voice) {
  let problem = null;
  try {
    for await (const event of reply(messages, release, signal)) {
      if (event.type === "delta") grow(turn, nodes, event.text, voice);
      if (event.type === "finish") turn.ended = event.reason;
    }
  } catch (error) {
    if (error.name === "AbortError") turn.ended = "stopped";
    else if (error instanceof Problem) problem = error;
    else throw error;
  }
  if (problem) turn.ended = "broken";
  nodes.item.classList.remove("writing");
  showMeta(turn, nodes);
  voice.end();
  return problem;
}

function grow(turn, nodes, text, voice) {
  const follow = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PX;
  turn.text += text;
  nodes.text.append(nodes.text.firstChild ? text : text.trimStart());
  if (follow) toEnd();
  voice.say(text);
}

/** Hands whole sentences to screen readers, which stumble over pieces of words. */
export function sentences() {
  let pending = "";
  const speak = (end) => {
    if (!end) return;
    spoken.append(element("p", "", pending.slice(0, end)));
    pending = pending.slice(end);
  };
  return {
    say(text) {
      pending += text;
      speak(pending.search(SENTENCE) + 1);
    },
    end: () => speak(pending.length),
  };
}

/** Hands a whole reply with its author's name to screen readers: several are written at once. */
export function atOnce(turn) {
  return { say() {}, end: () => spoken.append(element("p", "", `${turn.by}: ${turn.text}`)) };
}

/** Nothing more to say of what went before. */
export function hush() {
  spoken.replaceChildren();
}

export function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}

function showMeta(turn, { item, meta }) {
  item.classList.toggle("done", turn.ended !== "");
  meta.replaceChildren(element("span", "by", turn.by));
  if (ENDS[turn.ended]) meta.append(element("span", turn.ended === "broken" ? "ended bad" : "ended", ENDS[turn.ended]));
  if (turn.ended && turn.text) meta.append(copyButton(turn));
}

function copyButton(turn) {
  const button = element("button", "", "Copy");
  button.type = "button";
  button.addEventListener("click", async () => {
    const copied = await navigator.clipboard?.writeText(turn.text).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Select and copy by hand";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}
