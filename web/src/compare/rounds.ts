// Columns beside each other: which answers belong to one question.

import type { Conversation, Message } from "../api.gen";

/** A question, and each column's answer to it; null where the column was not asked. */
export type Round = { readonly question: Message; readonly answers: readonly (Message | null)[] };

/** The columns' questions in the order they were asked. A column that missed one has a gap there. */
export function roundsOf(columns: readonly Conversation[]): readonly Round[] {
  const waiting = columns.map(({ messages }) => pairs(messages));
  const rounds: Round[] = [];
  for (;;) {
    const heads = waiting.flatMap(([head]) => (head ? [head.question] : []));
    const [next] = heads.sort((one, other) => one.created - other.created);
    if (!next) return rounds;
    const answers = waiting.map((column) =>
      column[0]?.question.content === next.content ? (column.shift()?.answer ?? null) : null,
    );
    rounds.push({ question: next, answers });
  }
}

function pairs(messages: readonly Message[]): { question: Message; answer: Message | null }[] {
  return messages.flatMap((question, n) => {
    if (question.role !== "user") return [];
    const answer = messages[n + 1];
    return [{ question, answer: answer?.role === "assistant" ? answer : null }];
  });
}
