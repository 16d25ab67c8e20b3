// Who answers: the newest release, until the person picks one.

import { element } from "./words.js";

const group = document.getElementById("releases");
const follow = document.getElementById("follow");
const pinned = document.getElementById("pinned");
const pinnedName = document.getElementById("pinned-name");
const news = document.getElementById("news");
const NEWS_MS = 5_000;

let releases = [];
let known = false; // whether the server has told us its releases yet
let picked = null;
let newsTimer = 0;
let onPick = () => {};

/** `pick` is the release that the person chose earlier, or null; `changed` hears of a new choice. */
export function startReleases(pick, changed) {
  picked = pick;
  onPick = changed;
  group.addEventListener("change", (event) => choose(event.target.value));
  follow.addEventListener("click", () => {
    choose(null);
    group.querySelector(":checked")?.focus();
  });
}

/** The release that answers next, or null while there is none. */
export function chosen() {
  return releases.find((release) => release.name === picked) ?? releases.at(-1) ?? null;
}

/** The releases of the newest run, oldest first: who answers a comparison. */
export function compared() {
  const run = releases.at(-1)?.run;
  return releases.filter((release) => release.run === run);
}

/** The release of this name answers from now on. */
export function pick(name) {
  choose(name);
}

/** Shows the releases as they are now, oldest first. */
export function showReleases(found) {
  const [before, first] = [chosen(), !known];
  known = true;
  const same = found.map(key).join("\n") === releases.map(key).join("\n");
  releases = found;
  if (same) return;
  group.replaceChildren(...releases.map(option));
  mark();
  const now = chosen();
  if (first || !now) return;
  if (now.name !== before?.name) tell(`${now.label} is ready and answers from now on.`);
  else if (releases.at(-1).name !== now.name) tell(`${releases.at(-1).label} is ready.`);
}

function key(release) {
  return `${release.name}\t${release.label}`;
}

function option(release) {
  const label = element("label", "", release.label);
  label.title = release.name;
  const radio = element("input", "hidden");
  radio.type = "radio";
  radio.name = "release";
  radio.value = release.name;
  label.prepend(radio);
  return label;
}

function choose(name) {
  picked = name;
  tell("");
  mark();
  onPick(picked);
}

function mark() {
  const now = chosen();
  for (const radio of group.querySelectorAll("input")) {
    radio.checked = radio.value === now?.name;
    if (radio.checked) radio.parentElement.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  pinned.hidden = picked === null || now?.name !== picked;
  pinnedName.textContent = now?.label ?? "";
}

function tell(text) {
  clearTimeout(newsTimer);
  news.textContent = text;
  if (text) newsTimer = setTimeout(() => tell(""), NEWS_MS);
}
