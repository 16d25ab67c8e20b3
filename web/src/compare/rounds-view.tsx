// Rounds: a question, and below it the answers in columns; stacked where it is narrow.

import type { CSSProperties } from "react";
import type { ConversationRow, Message } from "../api.gen";
import { Body, useWritten } from "../chat/reply";
import { useText } from "../shared/i18n";
import { CopyButton } from "../shared/markdown";
import { useReleaseLabels } from "../shared/releases";
import { Link } from "../shared/router";
import type { Round } from "./rounds";
import { text as catalogue } from "./text";

type Props = {
  rounds: readonly Round[];
  columns: readonly ConversationRow[];
  /** Columns that are still to be asked. */
  waiting: readonly string[];
  ask: (column: ConversationRow, content: string) => void;
};

export function Rounds({ rounds, columns, waiting, ask }: Props) {
  const text = useText(catalogue);
  const style = { "--columns": columns.length } as CSSProperties;
  return (
    <ol className="rounds" style={style}>
      {rounds.map(({ question, answers }, n) => (
        <li key={question.id}>
          <h2 className="hidden">{text.asked}</h2>
          <p className="said user">{question.content}</p>
          <div className="answers" role="group" aria-label={text.answers}>
            {columns.map((column, index) => (
              <Cell
                key={column.id}
                column={column}
                answer={answers[index] ?? null}
                isLast={n === rounds.length - 1}
                waits={waiting.includes(column.id)}
                ask={() => ask(column, question.content)}
              />
            ))}
          </div>
        </li>
      ))}
    </ol>
  );
}

type CellProps = { column: ConversationRow; answer: Message | null; isLast: boolean; waits: boolean; ask: () => void };

function Cell({ column, answer, isLast, waits, ask }: CellProps) {
  const text = useText(catalogue);
  const label = useReleaseLabels()(column.release);
  return (
    <article className="answer" aria-label={label} aria-busy={answer?.state === "pending"}>
      <header>
        <h3>{label}</h3>
        {isLast && answer && (
          <Link to={`/c/${column.id}`} className="quiet" aria-label={text.goOnWith(label)}>
            {text.goOn}
          </Link>
        )}
      </header>
      {answer ? <Written message={answer} /> : <NotAsked label={label} waits={waits} ask={isLast ? ask : null} />}
    </article>
  );
}

function Written({ message }: { message: Message }) {
  const now = useWritten(message);
  return (
    <>
      <Body message={now} />
      {now.state !== "pending" && now.content && <CopyButton text={now.content} />}
    </>
  );
}

function NotAsked({ label, waits, ask }: { label: string; waits: boolean; ask: (() => void) | null }) {
  const text = useText(catalogue);
  return (
    <p className="quietly">
      {waits ? text.waits : text.notAsked}{" "}
      {!waits && ask && (
        <button type="button" className="link" aria-label={text.askIt(label)} onClick={ask}>
          {text.ask}
        </button>
      )}
    </p>
  );
}
