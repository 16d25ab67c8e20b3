// The strip of stages. Measuring and releasing belong to the stage that they follow.

import { useEffect, useRef } from "react";
import type { Release, RunAnswer, StageAnswer } from "../api.gen";
import { announce } from "../shared/announce";
import { useText } from "../shared/i18n";
import { Link } from "../shared/router";
import { duration, figure, percent, share, titleOf } from "../shared/words";
import { stepsOf } from "./data";
import { text as catalogue } from "./text";

// What is told of a stage: the figure's name with the service.
const FIGURES: Record<string, keyof (typeof catalogue)["en"]["figures"]> = {
  data: "demonstrations",
  tokenizer: "tokens",
  base: "loss",
  sft: "loss",
  rank: "pairs",
  reward: "accuracy",
  ppo: "score",
};

/** `cut` are the run's releases by their stage. */
export function Steps({ run, cut }: { run: RunAnswer; cut: ReadonlyMap<string, Release> }) {
  const text = useText(catalogue);
  useNews(run);
  const steps = stepsOf(run);
  if (!steps.length) return null;
  return (
    <ol className="steps" aria-label={text.stages}>
      {steps.map((stage) => (
        <Step
          key={stage.name}
          stage={stage}
          measuring={run.stages.find(({ name, state }) => name === `evaluate-${stage.name}` && state === "running")}
          release={cut.get(stage.name)}
        />
      ))}
    </ol>
  );
}

function Step(props: { stage: StageAnswer; measuring: StageAnswer | undefined; release: Release | undefined }) {
  const text = useText(catalogue);
  const { stage, measuring, release } = props;
  const now = measuring ?? stage;
  const title = titleOf(stage.name);
  const state = measuring ? "running" : stage.state;
  const told = figureOf(stage, text.figures);
  return (
    <li className={`step ${state}`}>
      <span className="top">
        <span className="sign" aria-hidden="true" />
        <b>{title}</b>
      </span>
      <span className="when">{measuring ? text.measuring(share(now.done, now.total)) : whenOf(stage, text)}</span>
      {state === "running" && (
        <progress
          max={100}
          value={percent(now.done, now.total)}
          aria-label={measuring ? text.measuringStage(title) : title}
        />
      )}
      <span className="also">
        {told && <span>{told}</span>}
        {release && <TalkLink release={release} />}
      </span>
    </li>
  );
}

/** Opens the chat with that release. */
export function TalkLink({ release }: { release: Release }) {
  const text = useText(catalogue);
  const to = `/?release=${encodeURIComponent(release.name)}`;
  return (
    <Link to={to} className="talk" aria-label={text.talkTo(titleOf(release.stage))}>
      {text.talk}
    </Link>
  );
}

function whenOf(stage: StageAnswer, text: (typeof catalogue)["en"]): string {
  if (stage.state === "done") return duration(stage.seconds);
  if (stage.state !== "running") return stage.state === "failed" ? text.failed : text.waiting;
  const part = share(stage.done, stage.total);
  return stage.remaining_seconds === null ? part : `${part} · ${text.left(duration(stage.remaining_seconds))}`;
}

function figureOf(stage: StageAnswer, words: (typeof catalogue)["en"]["figures"]): string {
  const name = FIGURES[stage.name.split("-")[0] ?? ""];
  const value = name && stage.figures[name];
  return !name || value === undefined || value === null ? "" : `${words[name]} ${figure(value)}`;
}

/** Tells screen readers which stages have finished since they last heard. */
function useNews(run: RunAnswer): void {
  const text = useText(catalogue);
  const done = run.stages.filter(({ state, name }) => state === "done" && !name.startsWith("release-"));
  const names = done.map(({ name }) => name).join("\n");
  const told = useRef(names);
  useEffect(() => {
    const before = new Set(told.current.split("\n"));
    const fresh = names.split("\n").filter((name) => name && !before.has(name));
    told.current = names;
    if (fresh.length) announce(text.finished(fresh.map(titleOf).join(", ")));
  }, [names, text]);
}
