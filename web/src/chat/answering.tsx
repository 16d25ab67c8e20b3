// Who answers: the default release, one that was picked, or two side by side without their names.

import { useEffect } from "react";
import type { Release } from "../api.gen";
import { useText } from "../shared/i18n";
import { useReleases } from "../shared/releases";
import { createStore, keep, kept, useStore } from "../shared/store";
import { text as catalogue } from "./text";

const VERSUS = "|versus";

/** None for the default, one, or two for a blind comparison. */
const picked = createStore<readonly string[]>(JSON.parse(kept("answering") ?? "[]") as readonly string[]);

/** The releases to ask, as the service wants them. */
export function releasesAsked(): readonly string[] {
  return picked.get();
}

export function Answering() {
  const text = useText(catalogue);
  const { data: releases } = useReleases();
  const now = useStore(picked);
  const isUnknown = releases !== undefined && now.some((name) => !releases.some((one) => one.name === name));
  useEffect(() => {
    if (isUnknown) pick([]);
  }, [isUnknown]);
  if (!releases || releases.length < 2) return null;
  const chosen = (value: string) => pick(value === VERSUS ? twoOf(releases) : value ? [value] : []);
  return (
    <div className="answering">
      <label>
        <span className="hidden">{text.whoAnswers}</span>
        <select value={now.length > 1 ? VERSUS : (now[0] ?? "")} onChange={(event) => chosen(event.target.value)}>
          <option value="">{text.defaultAnswers(defaultOf(releases)?.label ?? "")}</option>
          <Options releases={releases} />
          <option value={VERSUS}>{text.sideBySide}</option>
        </select>
      </label>
      {now.length === 2 && <Two releases={releases} now={now} />}
    </div>
  );
}

function Two({ releases, now }: { releases: readonly Release[]; now: readonly string[] }) {
  const text = useText(catalogue);
  return now.map((name, index) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: there are two places
    <label key={index}>
      <span className="hidden">{text.sideNumber(index + 1)}</span>
      <select
        value={name}
        onChange={(event) => pick(now.map((one, place) => (place === index ? event.target.value : one)))}
      >
        <Options releases={releases.filter((one) => one.name === name || !now.includes(one.name))} />
      </select>
    </label>
  ));
}

function Options({ releases }: { releases: readonly Release[] }) {
  return releases.map(({ name, label }) => (
    <option key={name} value={name}>
      {label}
    </option>
  ));
}

function pick(releases: readonly string[]): void {
  keep("answering", releases.length ? JSON.stringify(releases) : null);
  picked.set(releases);
}

function defaultOf(releases: readonly Release[]): Release | undefined {
  return releases.find((one) => one.is_default) ?? releases.at(-1);
}

/** The default against the one before it. */
function twoOf(releases: readonly Release[]): readonly string[] {
  const first = defaultOf(releases);
  const second = releases.findLast((one) => one !== first);
  return first && second ? [first.name, second.name] : [];
}
