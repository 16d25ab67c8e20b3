// The box at the bottom, its buttons, and what is said above it. What a message does is the mode's affair.

import { element } from "./words.js";

const box = document.getElementById("box");
const composer = document.getElementById("composer");
const notice = document.getElementById("notice");
const send = document.getElementById("send");
const stop = document.getElementById("stop");

let mode = () => null; // of now: { ready(), writing(), send(text), stop() }

/** `draft` is what an earlier page left; `current` gives the mode of now. */
export function startDock(draft, current) {
  mode = current;
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
  box.addEventListener("input", showDock);
  stop.addEventListener("click", () => mode().stop());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && mode().writing()) mode().stop();
  });
}

/** What is in the box. */
export function draft() {
  return box.value;
}

/** Puts a message that nobody answered back, before what was typed since. */
export function giveBack(text) {
  box.value = [text, box.value].filter(Boolean).join("\n");
  showDock();
}

/** Wakes the box up once there is somebody to talk to, and says what can be done. */
export function showDock() {
  const asleep = !mode().ready();
  const woke = box.disabled && !asleep;
  box.disabled = asleep;
  box.placeholder = asleep ? "Nobody to talk to yet" : "Message parley";
  send.disabled = asleep || !box.value.trim();
  send.hidden = mode().writing();
  stop.hidden = !mode().writing();
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
  if (woke) focusBox();
}

/** The cursor into the box, unless the person is somewhere else on the page. */
export function focusBox(always = false) {
  if (always || document.activeElement === document.body) box.focus();
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

/** What to do about a problem: sign in again, or `otherwise`. */
export function tellProblem(problem, otherwise) {
  const link = "Open a new link (“.venv/bin/parley link” prints one); this tab keeps the conversation.";
  tell(`${problem.message} ${problem.status === 401 ? link : otherwise}`);
}

async function submit() {
  const text = box.value.trim();
  if (!text || !mode().ready() || mode().writing()) return;
  tell("");
  box.value = "";
  await mode().send(text);
  showDock();
  focusBox();
}
