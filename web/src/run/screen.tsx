// The run as it goes: stages, figures, curves, the ladder, the same question before and after.

import type { ReactNode } from "react";
import type { Release, RunAnswer, RunDetails } from "../api.gen";
import { useText } from "../shared/i18n";
import { useReleases } from "../shared/releases";
import { useTitle } from "../shared/router";
import { duration, titleOf } from "../shared/words";
import { AccuracyPlot } from "./accuracy";
import { Answers } from "./answers";
import { CloudPlot, LossPlot } from "./curves";
import { judgedOf, secondsOf, trainedOf, useDetails, useRun } from "./data";
import { GoldPlot } from "./gold";
import { Ladder } from "./ladder";
import "./run.css";
import "./plots.css";
import "./tables.css";
import { Sources } from "./sources";
import { Steps } from "./steps";
import { text as catalogue } from "./text";

export default function Run() {
  const { data: run } = useRun();
  const { data: details } = useDetails(run);
  const { data: releases } = useReleases();
  if (!run || !details) return null;
  return <Sheet run={run} details={details} releases={releases ?? []} />;
}

function Sheet({ run, details, releases }: { run: RunAnswer; details: RunDetails; releases: readonly Release[] }) {
  const cut = new Map(releases.filter((one) => one.run === details.run).map((one) => [one.stage, one]));
  const isPpo = !run.stages.length || trainedOf(run).some((name) => name.startsWith("ppo"));
  return (
    <div className="sheet">
      <Head run={run} details={details} isAlone={releases.length === 0} />
      <Steps run={run} cut={cut} />
      {run.state !== "none" && (
        <>
          <Results details={details} />
          {isPpo && <Clouds run={run} details={details} />}
          <Ladder details={details} />
          <Answers details={details} cut={cut} />
          <Losses run={run} details={details} />
          <Sources sources={details.sources} />
        </>
      )}
    </div>
  );
}

function Head({ run, details, isAlone }: { run: RunAnswer; details: RunDetails; isAlone: boolean }) {
  const text = useText(catalogue);
  const left = leftOf(run, text);
  useTitle(run.state === "running" ? left : text.title);
  const none = run.state === "none";
  return (
    <>
      <header className="head">
        <div>
          <h1 tabIndex={-1}>{none ? text.noRun : run.recipe}</h1>
          <p className="made-with">{none ? text.noRunHint : madeWith(details, text)}</p>
        </div>
        <p className="left">{left}</p>
      </header>
      {run.message && <p className={run.state === "failed" ? "notice bad" : "notice"}>{run.message}</p>}
      {isAlone && !none && <p className="notice">{run.state === "running" ? text.making : text.madeNothing}</p>}
    </>
  );
}

function leftOf(run: RunAnswer, text: (typeof catalogue)["en"]): string {
  switch (run.state) {
    case "running":
      return run.remaining_seconds === null ? text.running : text.left(duration(run.remaining_seconds));
    case "done":
      return text.doneIn(duration(secondsOf(run)));
    case "failed":
      return text.failed;
    case "stopped":
      return text.stopped;
    case "none":
      return "";
  }
}

function madeWith({ seed, plan }: RunDetails, text: (typeof catalogue)["en"]): string {
  const parts = [
    seed === null ? "" : text.seed(seed),
    plan.device,
    plan.threads && text.threads(plan.threads),
    plan.linear,
  ];
  return parts.filter(Boolean).join(" · ");
}

function Results({ details }: { details: RunDetails }) {
  const text = useText(catalogue);
  const { policies, evaluations, agreements } = details;
  const judged = judgedOf(details);
  const newest = agreements.slice(-2);
  return (
    <section className="cards two" aria-labelledby="results-title">
      <h2 className="hidden" id="results-title">
        {text.results}
      </h2>
      <Card
        title={text.gold}
        hint={text.goldHint}
        waiting={judged.length ? "" : evaluations.length ? text.onWords : text.whenBase}
        keys={[
          ["sampled", text.sampledKey],
          ["greedy", text.greedyKey],
        ]}
      >
        <GoldPlot policies={policies} evaluations={judged} />
      </Card>
      <Card
        title={text.accuracy}
        hint={text.accuracyHint}
        waiting={agreements.length ? "" : text.whenReward}
        keys={newest.map(({ stage }, n) => [n === newest.length - 1 ? "new" : "old", titleOf(stage)])}
      >
        <AccuracyPlot agreements={agreements} />
      </Card>
    </section>
  );
}

function Clouds({ run, details }: { run: RunAnswer; details: RunDetails }) {
  const text = useText(catalogue);
  const stages = trainedOf(run).filter((name) => name.startsWith("ppo"));
  return (
    <section aria-labelledby="kl-title">
      <h2 id="kl-title">{text.kl}</h2>
      <p className="lead">{text.klHint}</p>
      <div className="cards two">
        {stages.map((stage) => {
          const curve = details.curves.find((one) => one.stage === stage);
          const isThere = curve?.columns.kl_nats && curve.columns.score;
          return (
            <Card key={stage} title={titleOf(stage)} waiting={isThere ? "" : text.whenSteps(titleOf(stage))}>
              {curve && <CloudPlot curve={curve} />}
            </Card>
          );
        })}
      </div>
    </section>
  );
}

function Losses({ run, details }: { run: RunAnswer; details: RunDetails }) {
  const text = useText(catalogue);
  return (
    <section aria-labelledby="loss-title">
      <h2 id="loss-title">{text.losses}</h2>
      <p className="lead">{text.lossesHint}</p>
      <div className="cards four">
        {trainedOf(run).map((stage) => {
          const curve = details.curves.find((one) => one.stage === stage);
          const name = ["loss", "value_loss"].find((one) => curve?.columns[one]);
          const isCritic = name ? name === "value_loss" : stage.startsWith("ppo");
          const title = `${titleOf(stage)} · ${isCritic ? text.criticLoss : text.loss}`;
          return (
            <Card key={stage} title={title} waiting={name ? "" : text.whenTrained(titleOf(stage))}>
              {curve && name && <LossPlot curve={curve} name={name} />}
            </Card>
          );
        })}
      </div>
    </section>
  );
}

/** A chart in its frame; `waiting` says when it will come, and stands in its place. */
function Card(props: {
  title: string;
  hint?: string;
  waiting: string;
  keys?: readonly (readonly [string, string])[];
  children: ReactNode;
}) {
  const { title, hint, waiting, keys, children } = props;
  return (
    <figure className={waiting ? "card waiting" : "card"}>
      <figcaption>
        <h3>{title}</h3>
        {hint && <p>{hint}</p>}
      </figcaption>
      {keys && !waiting && (
        <p className="key">
          {keys.map(([name, words]) => (
            <span key={name} className={name}>
              {words}
            </span>
          ))}
        </p>
      )}
      {waiting ? <p className="empty">{waiting}</p> : children}
    </figure>
  );
}
