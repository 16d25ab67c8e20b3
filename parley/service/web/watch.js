// Asks the server how things are, again and again, and bears it when nobody answers.

import { Problem } from "./api.js";

const server = document.getElementById("server");
const STEP_MS = 1_000;
const LONGEST_WAIT_MS = 15_000;

/** Calls `look`, which says after how many milliseconds to call it again, or null for not by itself.
 * `kept` is what the page keeps meanwhile, in words. Returns a function that looks now. */
export function watch(look, kept) {
  let failures = 0;
  let timer = 0;
  let looking = false;

  async function now() {
    if (looking) return;
    looking = true;
    clearTimeout(timer);
    let wait = null;
    try {
      wait = await look();
      failures = 0;
      server.hidden = true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      wait = misfortune(error);
    } finally {
      looking = false;
    }
    if (wait !== null) timer = setTimeout(now, wait);
  }

  function misfortune(problem) {
    server.hidden = false;
    if (problem.status === 401) {
      server.textContent = `You are signed out. Open a new link (“.venv/bin/parley link” prints one); ${kept}.`;
      return null;
    }
    const wait = Math.min(LONGEST_WAIT_MS, STEP_MS * 2 ** failures);
    failures += 1;
    server.textContent = `${problem.message} Trying again in ${Math.round(wait / 1000)} s; ${kept}.`;
    return wait;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") now();
  });
  now();
  return now;
}
