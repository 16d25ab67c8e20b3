// The same question, before and after: one column a stage.

import { useState } from "react";
import type { Evaluation, Exchange, Release, RunDetails } from "../api.gen";
import { useText } from "../shared/i18n";
import { plain, spoken, titleOf } from "../shared/words";
import { TalkLink } from "./steps";
import { text as catalogue } from "./text";

const FEW = 4;

export function Answers({ details, cut }: { details: RunDetails; cut: ReadonlyMap<string, Release> }) {
  const text = useText(catalogue);
  const [all, setAll] = useState(false);
  const told = details.evaluations.filter(({ transcripts }) => transcripts.length > 0);
  const questions = pick(told[0]?.transcripts ?? []);
  const shown = all ? questions : questions.slice(0, FEW);
  return (
    <section aria-labelledby="answers-title" id="answers">
      <h2 id="answers-title">{text.answers}</h2>
      <Lead told={told} questions={questions} />
      {questions.length === 0 ? (
        <p className="empty">{text.whenBase}</p>
      ) : (
        <>
          <Heads policies={details.policies} told={told} cut={cut} />
          {shown.map((question, n) => (
            <Question
              key={JSON.stringify(question.messages)}
              question={question}
              policies={details.policies}
              told={told}
              isFirst={n === 0}
            />
          ))}
        </>
      )}
      {questions.length > FEW && (
        <button type="button" className="plain-button" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? text.fewer : text.more(questions.length - FEW)}
        </button>
      )}
    </section>
  );
}

function Lead({ told, questions }: { told: readonly Evaluation[]; questions: readonly Exchange[] }) {
  const text = useText(catalogue);
  const first = told[0];
  if (!first) return null;
  const how = first.transcribed === "greedy" ? text.greedily : text.at(first.transcribed);
  const judged = questions.some(({ gold }) => gold !== null);
  return (
    <p className="lead">
      {text.answersHint(how)} {judged && text.judged}
    </p>
  );
}

/** The first question of each behaviour, in the order they were asked; all where they have none. */
function pick(rows: readonly Exchange[]): readonly Exchange[] {
  const seen = new Set<string>();
  return rows.filter(({ behaviour }) => {
    if (behaviour && seen.has(behaviour)) return false;
    seen.add(behaviour);
    return true;
  });
}

type Told = { policies: readonly string[]; told: readonly Evaluation[] };

function Heads({ policies, told, cut }: Told & { cut: ReadonlyMap<string, Release> }) {
  return (
    <Columns count={policies.length} className="heads">
      {policies.map((stage) => {
        const release = cut.get(stage);
        return (
          <div key={stage} className={told.some((one) => one.stage === stage) ? "cell" : "cell later"}>
            <b>{titleOf(stage)}</b>
            {release && <TalkLink release={release} />}
          </div>
        );
      })}
    </Columns>
  );
}

function Question({ question, policies, told, isFirst }: Told & { question: Exchange; isFirst: boolean }) {
  const key = JSON.stringify(question.messages);
  return (
    <article className="question">
      <div className="asked">
        {question.behaviour && <span className="tag">{spoken(question.behaviour)}</span>}
        {question.messages.map(([role, said], n) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a turn is its place
          <p key={n} className={role === "user" ? "said user" : "said other"}>
            <span className="hidden">{role}: </span>
            {said}
          </p>
        ))}
      </div>
      <Columns count={policies.length} className="row">
        {policies.map((stage) => {
          const evaluation = told.find((one) => one.stage === stage);
          const exchange = evaluation?.transcripts.find(({ messages }) => JSON.stringify(messages) === key);
          if (exchange) return <Answer key={stage} stage={stage} exchange={exchange} />;
          return <NoAnswer key={stage} stage={stage} isMeasured={evaluation !== undefined} isFirst={isFirst} />;
        })}
      </Columns>
    </article>
  );
}

function Answer({ stage, exchange: { reply, gold } }: { stage: string; exchange: Exchange }) {
  const text = useText(catalogue);
  return (
    <div className="cell">
      <span className="of">{titleOf(stage)}</span>
      <p className="reply">{reply.trim() || text.noWords}</p>
      {gold !== null && <small className={gold > 0 ? "gold good" : "gold"}>{text.goldOf(plain(gold, 1))}</small>}
    </div>
  );
}

/** Why there is none; said once for a stage that is still to come. */
function NoAnswer({ stage, isMeasured, isFirst }: { stage: string; isMeasured: boolean; isFirst: boolean }) {
  const text = useText(catalogue);
  const why = isMeasured ? text.notAsked : isFirst ? text.whenMeasured(titleOf(stage)) : "·";
  return (
    <div className="cell later">
      <span className="of">{titleOf(stage)}</span>
      <p>{why}</p>
    </div>
  );
}

function Columns({ count, className, children }: { count: number; className: string; children: React.ReactNode }) {
  return (
    <div className={`columns ${className}`} style={{ "--columns": count } as React.CSSProperties}>
      {children}
    </div>
  );
}
