// Two answers side by side, and the vote between them: 1, 2, = (equal), 0 (both bad).

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import type { ComparisonRow, Message } from "../api.gen";
import { announce } from "../shared/announce";
import { call, Problem } from "../shared/api";
import { focusComposer } from "../shared/composer";
import { useText } from "../shared/i18n";
import { useShortcut } from "../shared/shortcuts";
import { useComparison, useOther } from "./at-work";
import { changed } from "./conversations";
import { Body, Reply, useWritten } from "./reply";
import { text as catalogue } from "./text";
import type { Outcome } from "./types";

const VOTES: readonly { key: string; outcome: Outcome }[] = [
  { key: "1", outcome: "left" },
  { key: "2", outcome: "right" },
  { key: "=", outcome: "tie" },
  { key: "0", outcome: "both_bad" },
];

/** The two answers until one was taken; then the one that the conversation goes on from. */
export function Pair({ message, closed }: { message: Message; closed: boolean }) {
  const comparison = useComparison(message.comparison_id);
  const other = useOther(message);
  if (!comparison || !other || comparison.outcome) return <Reply message={message} closed={closed} isLast />;
  const [left, right] = comparison.left === message.id ? [message, other] : [other, message];
  return <Sides comparison={comparison} left={left} right={right} />;
}

function Sides({ comparison, left, right }: { comparison: ComparisonRow; left: Message; right: Message }) {
  const text = useText(catalogue);
  const [first, second] = [useWritten(left), useWritten(right)];
  const areOver = first.state !== "pending" && second.state !== "pending";
  const { vote, problem } = useVote(comparison, left.conversation_id);
  return (
    <article className="pair" aria-label={text.twoAnswers} aria-busy={!areOver}>
      <h2>{text.twoAnswers}</h2>
      <p className="quietly small">{comparison.kind === "versus" ? text.whyVersus : text.whyDrafts}</p>
      <div className="sides">
        {[first, second].map((side, index) => (
          <section key={side.id} aria-label={text.answerNumber(index + 1)}>
            <h3>{text.answerNumber(index + 1)}</h3>
            <Body message={side} />
          </section>
        ))}
      </div>
      {areOver ? <Votes onVote={vote} /> : <p className="quietly small">{text.voteWhenDone}</p>}
      {problem && (
        <p className="notice bad" role="alert">
          {problem}
        </p>
      )}
    </article>
  );
}

function Votes({ onVote }: { onVote: (outcome: Outcome) => void }) {
  const text = useText(catalogue);
  const group = useRef<HTMLFieldSetElement>(null);
  useEffect(() => announce(text.voteNow), [text]);
  useShortcut({ keys: "1", label: text.votes.left, run: () => onVote("left") });
  useShortcut({ keys: "2", label: text.votes.right, run: () => onVote("right") });
  useShortcut({ keys: "=", label: text.votes.tie, run: () => onVote("tie") });
  useShortcut({ keys: "0", label: text.votes.both_bad, run: () => onVote("both_bad") });
  useShortcut({
    keys: "Escape",
    label: text.toTheVote,
    always: true,
    run: () => group.current?.querySelector("button")?.focus(),
  });
  return (
    <fieldset className="votes" ref={group}>
      <legend>{text.whichIsBetter}</legend>
      {VOTES.map(({ key, outcome }) => (
        <button key={key} type="button" className="plain-button" onClick={() => onVote(outcome)}>
          <kbd>{key}</kbd> {text.votes[outcome]}
        </button>
      ))}
      <p className="quietly small">{text.voteHint}</p>
    </fieldset>
  );
}

/** Votes, once; then the conversation goes on from the answer that was taken. */
function useVote({ id }: ComparisonRow, conversation: string) {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const [problem, setProblem] = useState("");
  const vote = async (outcome: Outcome) => {
    try {
      const voted = await call("PUT /api/comparisons/{comparison_id}/vote", {
        path: { comparison_id: id },
        body: { outcome },
      });
      await queries.invalidateQueries({ queryKey: ["conversation", conversation] });
      queries.setQueryData(["comparison", id], voted);
      changed(queries, conversation);
      announce(text.voted[outcome]);
      focusComposer();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    }
  };
  return { vote, problem };
}
