// The conversation: what was said, what is being said, and the box.

import { Problem, reply } from "./api.js";
import { chosen } from "./releases.js";
import { element } from "./words.js";

const box = document.getElementById("box");
const composer = document.getElementById("composer");
const notice = document.getElementById("notice");
const scroller = document.getElementById("scroller");
const send = document.getElementById("send");
const spoken = document.getElementById("spoken");
const stop = document.getElementById("stop");
const turns = document.getElementById("turns");
const welcome = document.getElementById("welcome");

const NEAR_END_PX = 80;
const SENTENCE = /[.!?…]\s|\n/;

// A turn: role, text, and of a reply also by (the release's label) and ended (how; "" while it is written).
let said = [];
let writing = null; // { controller, turn, nodes } while a reply is written
let onChange = () => {};

/** `turns` and `draft` are what an earlier page left; `changed` hears of every change worth keeping. */
export function startChat(kept, draft, changed) {
  onChange = changed;
  said = kept.map((turn) => (turn.ended === "" ? { ...turn, ended: "stopped" } : turn));
  for (const turn of said) turns.append(nodesOf(turn).item);
  box.value = draft;
  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
  });
  box.addEventListener("input", showComposer);
  stop.addEventListener("click", stopWriting);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && writing) stopWriting();
  });
  window.addEventListener("beforeunload", stopWriting); // else a reload would look like a failure
  document.getElementById("new-chat").addEventListener("click", newChat);
  showComposer();
  toEnd();
}

/** What there is to keep over a reload. */
export function keepsake() {
  return { turns: said, draft: box.value };
}

/** Wakes the box up once there is a release, and says what can be done. */
export function showComposer() {
  const asleep = chosen() === null;
  const woke = box.disabled && !asleep;
  box.disabled = asleep;
  box.placeholder = asleep ? "Nobody to talk to yet" : "Message parley";
  welcome.hidden = said.length > 0;
  send.disabled = asleep || !box.value.trim();
  send.hidden = writing !== null;
  stop.hidden = writing === null;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
  if (woke && document.activeElement === document.body) box.focus();
}

/** Says what happened, what was kept and what to do. */
export function tell(text) {
  notice.hidden = !text;
  if (!text) return;
  const close = element("button", "", "Close");
  close.type = "button";
  close.addEventListener("click", () => {
    tell("");
    box.focus();
  });
  notice.replaceChildren(element("span", "", text), close);
}

function newChat() {
  stopWriting();
  said = [];
  turns.replaceChildren();
  spoken.replaceChildren();
  tell("");
  showComposer();
  box.focus();
  onChange();
}

function stopWriting() {
  writing?.controller.abort();
}

async function submit() {
  const text = box.value.trim();
  const release = chosen();
  if (!text || !release || writing) return;
  tell("");
  spoken.replaceChildren();
  box.value = "";
  const asked = add({ role: "user", text });
  const turn = { role: "assistant", text: "", by: release.label, ended: "" };
  const mine = { controller: new AbortController(), turn, nodes: add(turn), asked };
  writing = mine;
  showComposer();
  toEnd();
  onChange();
  await write(mine, release.name);
  if (writing === mine) writing = null;
  showComposer();
  if (document.activeElement === document.body) box.focus();
  onChange();
}

async function write(mine, release) {
  const { controller, turn, nodes } = mine;
  const speech = { pending: "" };
  try {
    for await (const event of reply(history(turn), release, controller.signal)) {
      if (event.type === "delta") grow(turn, nodes, event.text, speech);
      if (event.type === "finish") turn.ended = event.reason;
    }
  } catch (error) {
    if (error.name === "AbortError") turn.ended = "stopped";
    else if (error instanceof Problem) fail(mine, error);
    else throw error;
  } finally {
    speak(speech, true);
    finish(turn, nodes);
  }
}

/** What the release is told: everything before this turn that has words. */
function history(turn) {
  const before = said.slice(0, said.indexOf(turn)).filter((one) => one.text);
  return before.map(({ role, text }) => ({ role, text }));
}

function grow(turn, nodes, text, speech) {
  const follow = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PX;
  turn.text += text;
  nodes.text.append(text);
  if (follow) toEnd();
  speech.pending += text;
  speak(speech, false);
}

/** Hands whole sentences to screen readers, which stumble over pieces of words. */
function speak(speech, all) {
  let end = speech.pending.search(SENTENCE) + 1;
  if (all) end = speech.pending.length;
  if (!end) return;
  spoken.append(element("p", "", speech.pending.slice(0, end)));
  speech.pending = speech.pending.slice(end);
}

function fail({ turn, nodes, asked }, problem) {
  if (!said.includes(turn)) return; // a new chat was begun meanwhile
  const signedOut = problem.status === 401;
  const todo = signedOut ? "Open a new link (“.venv/bin/parley link” prints one); this tab keeps the conversation." : "";
  if (turn.text) {
    turn.ended = "broken";
    tell(`${problem.message} ${todo || "What was written is kept; ask again to go on."}`);
    return;
  }
  nodes.item.remove();
  asked.item.remove();
  const question = said.splice(said.indexOf(turn) - 1, 2)[0];
  box.value = [question.text, box.value].filter(Boolean).join("\n");
  tell(`${problem.message} ${todo || "Your message is back in the box; send it again."}`);
}

function add(turn) {
  said.push(turn);
  const nodes = nodesOf(turn);
  turns.append(nodes.item);
  return nodes;
}

function nodesOf(turn) {
  const mine = turn.role === "user";
  const item = element("li", mine ? "turn user" : "turn reply");
  item.append(element("span", "hidden", mine ? "You: " : "parley: "));
  const text = element("div", "text", turn.text);
  item.append(text);
  const nodes = { item, text };
  if (!mine) {
    if (turn.ended === "") item.classList.add("writing");
    nodes.meta = element("div", "meta");
    item.append(nodes.meta);
    showMeta(turn, nodes);
  }
  return nodes;
}

function finish(turn, nodes) {
  nodes.item.classList.remove("writing");
  showMeta(turn, nodes);
}

const ENDS = { stopped: "stopped", length: "cut at its length limit", broken: "broke off" };

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

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}
