// The person's conversations as the page holds them: the history, and the selected branch of each that was opened.

import { type QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import type { Conversation, ConversationRow, Conversations, Message } from "../api.gen";
import { call } from "../shared/api";
import type { Turn } from "./types";

const LOOK_MS = 10_000; // for what other devices do
const HISTORY_PAGE = 50;
const otherTabs = new BroadcastChannel("parley.conversations");

/** A conversation's selected branch, from its newest message up to where it was loaded. */
export function useThread(id: string | null) {
  const queries = useQueryClient();
  return useQuery({
    queryKey: ["conversation", id],
    enabled: id !== null,
    refetchInterval: LOOK_MS,
    queryFn: async ({ signal }) => {
      const fresh = await call("GET /api/conversations/{conversation_id}", {
        path: { conversation_id: id ?? "" },
        signal,
      });
      return joined(threadOf(queries, id), fresh);
    },
  });
}

/** The history, latest first, as far as it was loaded. */
export function useHistory() {
  const queries = useQueryClient();
  return useQuery({
    queryKey: ["conversations"],
    refetchInterval: LOOK_MS,
    queryFn: async ({ signal }) => {
      const fresh = await call("GET /api/conversations", { query: { limit: HISTORY_PAGE }, signal });
      return merged(queries.getQueryData<Conversations>(["conversations"]), fresh);
    },
  });
}

/** Loads a further page of the history. */
export async function loadHistory(queries: QueryClient): Promise<void> {
  const before = queries.getQueryData<Conversations>(["conversations"])?.before;
  if (!before) return;
  const more = await call("GET /api/conversations", { query: { before, limit: HISTORY_PAGE } });
  queries.setQueryData<Conversations>(["conversations"], (now) => {
    if (now?.before !== before) return now;
    const known = new Set(now.conversations.map((row) => row.id));
    return {
      conversations: [...now.conversations, ...more.conversations.filter((row) => !known.has(row.id))],
      before: more.before,
    };
  });
}

/** Loads the messages above the loaded ones. */
export async function loadAbove(queries: QueryClient, id: string): Promise<void> {
  const before = threadOf(queries, id)?.before;
  if (!before) return;
  const above = await call("GET /api/conversations/{conversation_id}", {
    path: { conversation_id: id },
    query: { before },
  });
  setThread(queries, id, (now) =>
    now.before === before ? { ...now, messages: [...above.messages, ...now.messages], before: above.before } : now,
  );
}

/** Selects the branch through a message. */
export async function select(queries: QueryClient, id: string, message: string): Promise<void> {
  const fresh = await call("PUT /api/conversations/{conversation_id}/head", {
    path: { conversation_id: id },
    body: { message_id: message },
  });
  await queries.cancelQueries({ queryKey: ["conversation", id] });
  queries.setQueryData<Conversation>(["conversation", id], (now) => joined(now, fresh));
  otherTabs.postMessage(id);
}

/** Puts a turn that the server made into its branch. */
export async function putTurn(queries: QueryClient, id: string, turn: Turn): Promise<void> {
  const [, second] = turn.replies;
  if (turn.comparison) queries.setQueryData(["comparison", turn.comparison.id], turn.comparison);
  if (second) queries.setQueryData(["message", second.id], second);
  await queries.cancelQueries({ queryKey: ["conversation", id] });
  setThread(queries, id, (now) => withTurn(now, turn));
  changed(queries, id);
}

/** Puts one message, as it now stands, in the place of what was known of it. */
export function putMessage(queries: QueryClient, message: Message): void {
  setThread(queries, message.conversation_id, (now) => ({
    ...now,
    messages: now.messages.map((one) => (one.id === message.id ? message : one)),
  }));
  queries.setQueryData<Message>(["message", message.id], (now) => now && message);
}

/** Changes a conversation's row, here and at the server. Raises `Problem`. */
export async function changeConversation(
  queries: QueryClient,
  id: string,
  change: { title?: string; training_use?: ConversationRow["training_use"]; closed?: boolean },
): Promise<void> {
  const row = await call("PATCH /api/conversations/{conversation_id}", {
    path: { conversation_id: id },
    body: change,
  });
  setThread(queries, id, (now) => ({ ...now, ...row }));
  changed(queries, id);
}

/** Deletes a conversation for good. Raises `Problem`. */
export async function deleteConversation(queries: QueryClient, id: string): Promise<void> {
  await call("DELETE /api/conversations/{conversation_id}", { path: { conversation_id: id } });
  queries.removeQueries({ queryKey: ["conversation", id] });
  queries.setQueryData<Conversations>(
    ["conversations"],
    (now) => now && { ...now, conversations: now.conversations.filter((row) => row.id !== id) },
  );
  otherTabs.postMessage(id);
}

/** Looks again where another tab did something. */
export function useOtherTabs(): void {
  const queries = useQueryClient();
  useEffect(() => {
    const look = ({ data }: MessageEvent<string>) => {
      queries.invalidateQueries({ queryKey: ["conversation", data] });
      queries.invalidateQueries({ queryKey: ["conversations"] });
    };
    otherTabs.addEventListener("message", look);
    return () => otherTabs.removeEventListener("message", look);
  }, [queries]);
}

/** This tab did something in a conversation: the history and the other tabs look again. */
export function changed(queries: QueryClient, id: string): void {
  queries.invalidateQueries({ queryKey: ["conversations"] });
  otherTabs.postMessage(id);
}

export function threadOf(queries: QueryClient, id: string | null): Conversation | undefined {
  return queries.getQueryData<Conversation>(["conversation", id]);
}

/** A freshly read page with the messages above it that were loaded before, where they meet. */
export function joined(old: Conversation | undefined, fresh: Conversation): Conversation {
  const parent = fresh.messages[0]?.parent_id;
  const at = parent ? (old?.messages.findIndex((one) => one.id === parent) ?? -1) : -1;
  if (!old || at < 0) return fresh;
  return { ...fresh, messages: [...old.messages.slice(0, at + 1), ...fresh.messages], before: old.before };
}

/** The branch that a turn made: its message follows its parent, or stands where it stood. */
export function withTurn(now: Conversation, { user, replies }: Turn): Conversation {
  const own = now.messages.findIndex((one) => one.id === user.id);
  const at = own >= 0 ? own : now.messages.findIndex((one) => one.id === user.parent_id) + 1;
  return {
    ...now,
    messages: [...now.messages.slice(0, at), user, ...replies.slice(0, 1)],
    before: at === 0 ? null : now.before,
  };
}

/** The first page as it now is, and what was loaded below it. What is missing from its span was deleted. */
function merged(old: Conversations | undefined, fresh: Conversations): Conversations {
  const last = fresh.conversations.at(-1);
  if (!old || !last || !fresh.before) return fresh;
  const known = new Set(fresh.conversations.map((row) => row.id));
  const below = old.conversations.filter((row) => !known.has(row.id) && row.updated <= last.updated);
  if (!below.length) return fresh;
  return { conversations: [...fresh.conversations, ...below], before: old.before };
}

function setThread(queries: QueryClient, id: string, change: (now: Conversation) => Conversation): void {
  queries.setQueryData<Conversation>(["conversation", id], (now) => now && change(now));
}
