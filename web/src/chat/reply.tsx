// A reply: its text as it is written, how it ended, who wrote it, and what can be done with it.

import { useQueryClient } from "@tanstack/react-query";
import { memo, type ReactNode, useEffect, useState } from "react";
import type { Message } from "../api.gen";
import { call } from "../shared/api";
import { useGeneration } from "../shared/generation";
import { useText } from "../shared/i18n";
import { CopyButton, Markdown } from "../shared/markdown";
import { moment } from "../shared/words";
import { putMessage } from "./conversations";
import { FeedbackForm, Thumbs } from "./feedback";
import { canBeJudged, useFeedback } from "./feedback-data";
import { PairNote } from "./pair-note";
import { useRegenerate } from "./regenerate";
import "./reply.css";
import { useRelease, useReleaseLabel } from "./release-label";
import { text as catalogue } from "./text";
import { Blocked, Warning } from "./verdict";
import { Versions } from "./versions";

type Props = { message: Message; closed: boolean; isLast: boolean };

export const Reply = memo(function Reply({ message, closed, isLast }: Props) {
  const text = useText(catalogue);
  const now = useWritten(message);
  const isOver = now.state !== "pending";
  const feedback = useFeedback(message);
  const regenerate = useRegenerate(message);
  const [asksWhy, setAsksWhy] = useState(false);
  return (
    <article className="reply" aria-label={text.parleySaid} aria-busy={!isOver}>
      <h2 className="hidden">{text.parleySaid}</h2>
      <Body message={now} />
      {isOver && (
        <div className={isLast ? "under stays" : "under"}>
          <Versions message={message} />
          {now.content && <CopyButton text={now.content} />}
          {canBeJudged(now) && <Thumbs feedback={feedback} />}
          {!closed && (
            <button type="button" className="quiet" onClick={regenerate.run}>
              {text.regenerate}
            </button>
          )}
          <Author message={now} asksWhy={asksWhy} onAsk={() => setAsksWhy(!asksWhy)} />
        </div>
      )}
      {regenerate.problem && (
        <p className="notice bad" role="alert">
          {regenerate.problem}
        </p>
      )}
      {asksWhy && <Why message={now} />}
      {message.comparison_id && <PairNote comparison={message.comparison_id} />}
      <FeedbackForm feedback={feedback} />
    </article>
  );
});

/** The text, above it a warning and below it how it ended, where that has to be said. */
export function Body({ message }: { message: Message }) {
  const text = useText(catalogue);
  const { state, content, verdict, error } = message;
  if (state === "blocked") return <Blocked message={message} />;
  return (
    <>
      {verdict?.action === "warn" && <Warning message={message} verdict={verdict} />}
      {content && <Markdown>{content}</Markdown>}
      {state === "pending" && <p className="writing">{content ? text.writing : text.thinking}</p>}
      {state === "complete" && !content && <p className="ending">{text.empty}</p>}
      {(state === "stopped" || state === "length") && <p className="ending">{text.ended[state]}</p>}
      {state === "failed" && <p className="notice bad">{error ?? text.ended.failed}</p>}
    </>
  );
}

/** The message as far as it is written; where its events are gone, as the server has it. */
export function useWritten(message: Message): Message {
  const queries = useQueryClient();
  const isPending = message.state === "pending";
  const writing = useGeneration(isPending ? message.generation_id : null);
  const isLost = isPending && writing !== null && writing.problem !== null;
  useEffect(() => {
    if (!isLost) return;
    const asked = call("GET /api/messages/{message_id}", { path: { message_id: message.id } });
    void asked.then(
      (found) => putMessage(queries, found),
      () => undefined, // the conversation is read again anyway
    );
  }, [isLost, message.id, queries]);
  if (!isPending || !writing) return message;
  if (writing.finished) return writing.finished.message;
  return {
    ...message,
    content: writing.text,
    verdict: writing.verdict ?? message.verdict,
    state: writing.withdrawn ? "blocked" : "pending",
  };
}

function Author({ message, asksWhy, onAsk }: { message: Message; asksWhy: boolean; onAsk: () => void }) {
  const text = useText(catalogue);
  const { release } = message.author;
  const label = useReleaseLabel(release);
  if (!release) return null;
  return (
    <span className="author">
      <span title={moment(message.created)}>{label}</span>
      <button type="button" className="quiet" aria-expanded={asksWhy} onClick={onAsk}>
        {text.why}
      </button>
    </span>
  );
}

/** Where an answer comes from: the release, its card, and what a model does. */
function Why({ message }: { message: Message }) {
  const text = useText(catalogue);
  const release = useRelease(message.author.release);
  const label = useReleaseLabel(message.author.release);
  const card: ReactNode = release?.card && (
    <a href={release.card} target="_blank" rel="noopener">
      {text.card}
    </a>
  );
  return (
    <section className="aside" aria-label={text.why}>
      <p>{text.whyAnswer(label, message.author.release ?? "", moment(message.created))}</p>
      <p>
        {card ? (
          <>
            {card} · {text.cardHint}
          </>
        ) : (
          text.noCard
        )}
      </p>
    </section>
  );
}
