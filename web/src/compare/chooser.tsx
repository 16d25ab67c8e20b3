// Which releases are asked.

import { useState } from "react";
import type { Release } from "../api.gen";
import { useText } from "../shared/i18n";
import { ofNewestRun } from "../shared/releases";
import { text as catalogue } from "./text";

const MOST = 6;

/** Those of the newest run, until the person ticks others. */
export function useChosen(releases: readonly Release[]) {
  const [names, setNames] = useState<readonly string[] | null>(null);
  const chosen = names ? releases.filter(({ name }) => names.includes(name)) : ofNewestRun(releases).slice(-MOST);
  const choose = ({ name }: Release, on: boolean) => {
    const others = chosen.map((one) => one.name).filter((one) => one !== name);
    setNames(on ? [...others, name] : others);
  };
  return { chosen, choose };
}

type Props = {
  releases: readonly Release[];
  chosen: readonly Release[];
  choose: (release: Release, on: boolean) => void;
};

export function Chooser({ releases, chosen, choose }: Props) {
  const text = useText(catalogue);
  return (
    <fieldset className="chooser">
      <legend className="hidden">{text.who}</legend>
      {releases.map((release) => {
        const on = chosen.includes(release);
        return (
          <label key={release.name} title={release.name}>
            <input
              type="checkbox"
              className="hidden"
              checked={on}
              disabled={!on && chosen.length >= MOST}
              onChange={(event) => choose(release, event.target.checked)}
            />
            <span aria-hidden="true">{on ? "✓ " : ""}</span>
            {release.label}
          </label>
        );
      })}
    </fieldset>
  );
}
