// Two answers to one message, and which generations are at work at the end of a conversation.

import { useQuery } from "@tanstack/react-query";
import type { ComparisonRow, Conversation, Message } from "../api.gen";
import { call } from "../shared/api";

export const NONE: readonly string[] = [];

/** Two answers side by side; undefined without an id, and until it was read. */
export function useComparison(id: string | null): ComparisonRow | undefined {
  return useQuery({
    queryKey: ["comparison", id],
    enabled: id !== null,
    queryFn: ({ signal }) =>
      call("GET /api/comparisons/{comparison_id}", { path: { comparison_id: id ?? "" }, signal }),
    staleTime: 60_000,
  }).data;
}

/** One message; undefined without an id, and until it was read. */
export function useMessage(id: string | null): Message | undefined {
  return useQuery({
    queryKey: ["message", id],
    enabled: id !== null,
    queryFn: ({ signal }) => call("GET /api/messages/{message_id}", { path: { message_id: id ?? "" }, signal }),
    staleTime: 60_000,
  }).data;
}

/** The answer that stands beside this one. */
export function useOther(message: Message | undefined): Message | undefined {
  const comparison = useComparison(message?.comparison_id ?? null);
  const other = comparison?.left === message?.id ? comparison?.right : comparison?.left;
  return useMessage(other ?? null);
}

/** The generations that are at work at the end of the thread. */
export function useAtWork({ messages }: Conversation): readonly string[] {
  const last = messages.at(-1);
  const other = useOther(last?.role === "assistant" ? last : undefined);
  const ids = [last, other].flatMap((one) =>
    one?.state === "pending" && one.generation_id ? [one.generation_id] : [],
  );
  return ids.length ? ids : NONE;
}
