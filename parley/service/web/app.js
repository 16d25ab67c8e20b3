// Starts the page and keeps it in step with the server.

import { Problem, read, signOut } from "./api.js";
import { keepsake, showComposer, startChat, tell } from "./chat.js";
import { chosen, showReleases, startReleases } from "./releases.js";
import { makingOf, showRun } from "./run.js";

const KEPT = "parley";
const STEP_MS = 1_000;
const LONGEST_WAIT_MS = 15_000;
const EMPTY_MS = 5_000; // how often to look for a first release when no run is on

const making = document.getElementById("making");
const server = document.getElementById("server");
let picked = null;
let failures = 0;
let timer = 0;
let looking = false;

function load() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

function keep() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ ...keepsake(), picked }));
  } catch {
    tell("This tab has no room left to keep the conversation over a reload. It goes on all the same.");
  }
}

/** Asks how things are, shows it, and decides when to ask again: every second while a run is on. */
async function look() {
  if (looking) return;
  looking = true;
  clearTimeout(timer);
  let wait = null;
  try {
    const [run, { releases }] = await Promise.all([read("/api/run"), read("/api/releases")]);
    failures = 0;
    server.hidden = true;
    show(run, releases);
    if (run.state === "running") wait = STEP_MS;
    else if (releases.length === 0) wait = EMPTY_MS;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    wait = misfortune(error);
  } finally {
    looking = false;
  }
  if (wait !== null) timer = setTimeout(look, wait);
}

function show(run, releases) {
  showRun(run);
  showReleases(releases);
  const text = releases.length ? "" : makingOf(run);
  if (making.textContent !== text) making.textContent = text;
  making.hidden = !text;
  showComposer();
}

function misfortune(problem) {
  if (problem.status === 401) {
    server.textContent = "You are signed out. Open a new link (“.venv/bin/parley link” prints one); this tab keeps the conversation.";
    server.hidden = false;
    return null;
  }
  const wait = Math.min(LONGEST_WAIT_MS, STEP_MS * 2 ** failures);
  failures += 1;
  server.textContent = `${problem.message} Trying again in ${Math.round(wait / 1000)} s; this tab keeps the conversation.`;
  server.hidden = false;
  return wait;
}

const kept = load();
picked = kept.picked ?? null;
startReleases(picked, (name) => {
  picked = name;
  keep();
});
startChat(kept.turns ?? [], kept.draft ?? "", () => {
  keep();
  if (chosen()) look();
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
window.addEventListener("pagehide", keep);
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") look();
});
look();
