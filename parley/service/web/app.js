// Starts the chat page and keeps it in step with the server.

import { read, signOut } from "./api.js";
import { chat, startChat } from "./chat.js";
import { compare, startCompare } from "./compare.js";
import { draft, focusBox, showDock, startDock, tell } from "./dock.js";
import { compared, pick, showReleases, startReleases } from "./releases.js";
import { makingOf, showRun } from "./run.js";
import { toEnd } from "./turns.js";
import { watch } from "./watch.js";

const KEPT = "parley";
const STEP_MS = 1_000;
const EMPTY_MS = 5_000; // how often to look for a first release when no run is on
const TALK = "#talk="; // where the run's page sends people: this release answers

const making = document.getElementById("making");
const toggle = document.getElementById("compare");
const who = document.getElementById("compared");
let picked = null;
let comparing = false;

function load() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

function keep() {
  const kept = { turns: chat.turns(), rounds: compare.rounds(), draft: draft(), picked, comparing };
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(kept));
  } catch {
    tell("This tab has no room left to keep the conversation over a reload. It goes on all the same.");
  }
}

function mode() {
  return comparing ? compare : chat;
}

/** How things are; every second while a run is on. */
async function look() {
  const [run, { releases }] = await Promise.all([read("/api/run"), read("/api/releases")]);
  showRun(run);
  showReleases(releases);
  const text = releases.length ? "" : makingOf(run);
  if (making.textContent !== text) making.textContent = text;
  making.hidden = !text;
  show();
  if (run.state === "running") return STEP_MS;
  return releases.length === 0 ? EMPTY_MS : null;
}

/** The mode of now, on the whole page. */
function show() {
  const labels = compared().map((release) => release.label);
  document.body.classList.toggle("comparing", comparing);
  toggle.hidden = labels.length < 2 && !comparing;
  toggle.setAttribute("aria-pressed", String(comparing));
  const text = labels.join(", ").replace(/, ([^,]*)$/, " and $1");
  if (who.textContent !== text) who.textContent = text;
  chat.show(!comparing);
  compare.show(comparing);
  document.getElementById("welcome").hidden = comparing || !chat.empty();
  document.getElementById("welcome-compare").hidden = !comparing || !compare.empty();
  showDock();
}

function switchMode() {
  if (toggle.hidden) return;
  comparing = !comparing;
  tell("");
  show();
  toEnd();
  keep();
}

function changed() {
  keep();
  show();
  if (mode().ready()) lookNow();
}

/** A link from the run's page names who is to answer. */
function wanted() {
  if (!location.hash.startsWith(TALK)) return null;
  const name = location.hash.slice(TALK.length);
  history.replaceState(null, "", location.pathname);
  try {
    return decodeURIComponent(name);
  } catch {
    return null;
  }
}

const kept = load();
const asked = wanted();
picked = asked ?? kept.picked ?? null;
comparing = asked === null && kept.comparing === true;
startReleases(picked, (name) => {
  picked = name;
  keep();
});
startChat(kept.turns ?? [], changed);
startCompare(kept.rounds ?? [], changed);
startDock(kept.draft ?? "", mode);
show();
toEnd();
const lookNow = watch(look, "this tab keeps the conversation");

toggle.addEventListener("click", switchMode);
document.addEventListener("keydown", (event) => {
  const typing = event.target.tagName === "TEXTAREA";
  if (event.key === "c" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey && !event.repeat) switchMode();
});
document.getElementById("new-chat").addEventListener("click", () => {
  mode().clear();
  tell("");
  show();
  focusBox(true);
});
document.getElementById("sign-out").addEventListener("click", async () => {
  try {
    await signOut();
    sessionStorage.removeItem(KEPT);
    window.removeEventListener("pagehide", keep);
    location.assign("/login");
  } catch (error) {
    tell(`${error.message} You are still signed in; try again.`);
  }
});
window.addEventListener("beforeunload", () => {
  chat.stop(); // else a reload would look like a failure
  compare.stop();
});
window.addEventListener("pagehide", keep);
window.addEventListener("hashchange", () => {
  const name = wanted();
  if (name === null) return;
  comparing = false;
  pick(name);
  show();
});
