// The columns of a comparison: conversations that share a group, one a release.

import { type QueryClient, useQueries, useQuery } from "@tanstack/react-query";
import type { Conversation, ConversationRow, Release } from "../api.gen";
import { threadOf } from "../chat/conversations";
import { say, stop } from "../chat/say";
import { call, Problem } from "../shared/api";
import { onFinish } from "../shared/generation";

const AT_ONCE = 4; // replies that one person may have written at a time
const BUSY_MS = 1_000;
const TOO_MANY = 429;

/** The columns of `group`, in the order they were made. */
export function useColumns(group: string | null) {
  return useQuery({
    queryKey: ["comparing", group],
    enabled: group !== null,
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async ({ signal }) => {
      const query = { kind: "compare" as const, group, limit: 100 };
      const { conversations } = await call("GET /api/conversations", { query, signal });
      return conversations
        .filter((row) => row.group === group)
        .toSorted((one, other) => one.id.localeCompare(other.id));
    },
  });
}

/** What was said in each of them. */
export function useThreads(columns: readonly ConversationRow[]): readonly Conversation[] {
  const found = useQueries({
    queries: columns.map(({ id }) => ({
      queryKey: ["conversation", id],
      queryFn: ({ signal }: { signal: AbortSignal }) =>
        call("GET /api/conversations/{conversation_id}", { path: { conversation_id: id }, signal }),
    })),
  });
  return found.flatMap(({ data }) => (data ? [data] : []));
}

/** Comparisons made earlier, latest first. */
export function useRecent() {
  return useQuery({
    queryKey: ["comparing"],
    queryFn: ({ signal }) => call("GET /api/conversations", { query: { kind: "compare", limit: 100 }, signal }),
    select: ({ conversations }) => grouped(conversations),
  });
}

export type Recent = { group: string; title: string; updated: number; columns: number };

function grouped(rows: readonly ConversationRow[]): readonly Recent[] {
  const groups = Map.groupBy(rows, ({ group }) => group);
  return [...groups].flatMap(([group, columns]) => {
    const [first] = columns;
    if (!group || !first) return [];
    const title = columns.find((one) => one.title)?.title ?? "";
    return [{ group, title, updated: first.updated, columns: columns.length }];
  });
}

export type Begun = { readonly group: string; readonly columns: readonly ConversationRow[] };

/** A conversation for each of `releases`, under one new group. Raises `Problem`. */
export async function begin(queries: QueryClient, releases: readonly Release[]): Promise<Begun> {
  const group = crypto.randomUUID();
  const columns: ConversationRow[] = [];
  for (const { name } of releases) {
    columns.push(await call("POST /api/conversations", { body: { kind: "compare", group, release: name } }));
  }
  for (const row of columns) {
    queries.setQueryData<Conversation>(["conversation", row.id], { ...row, messages: [], before: null });
  }
  queries.setQueryData(["comparing", group], columns);
  return { group, columns };
}

/** Asks `columns` the same, a few at a time. `waits` hears which are still to be asked.
 * Resolves when it is known whether anybody answers: with null, or with what the first one said why not. */
export function askAll(
  queries: QueryClient,
  columns: readonly string[],
  content: string,
  { waits, signal }: { waits: (left: readonly string[]) => void; signal: AbortSignal },
): Promise<Problem | null> {
  return new Promise((resolve) => {
    const left = [...columns];
    let problem: Problem | null = null;
    const one = async () => {
      for (let next = left.shift(); next; next = left.shift()) {
        waits(left);
        try {
          const ended = await askOne(queries, next, content, signal);
          resolve(null);
          await ended();
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          problem ??= error;
        }
        if (signal.aborted) left.length = 0;
      }
    };
    waits(left);
    void Promise.all(Array.from({ length: AT_ONCE }, one)).then(() => {
      waits([]);
      resolve(problem);
    });
  });
}

/** Asks one column, as soon as the service has room. Resolves with a wait for the reply's end. */
async function askOne(
  queries: QueryClient,
  conversation: string,
  content: string,
  signal: AbortSignal,
): Promise<() => Promise<void>> {
  for (;;) {
    try {
      const parent = threadOf(queries, conversation)?.messages.at(-1)?.id ?? null;
      const turn = await say(queries, { conversation, parent, content, releases: [] });
      const writing = turn.replies.flatMap(({ generation_id, state }) =>
        generation_id && state === "pending" ? [generation_id] : [],
      );
      if (signal.aborted) await Promise.allSettled(writing.map(stop)); // Stop came while this was on its way
      return () => endOf(writing);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== TOO_MANY || signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
    }
  }
}

/** Resolves when the last of these replies has come to its end. */
function endOf(generations: readonly string[]): Promise<void> {
  const left = new Set(generations);
  return new Promise((resolve) => {
    if (!left.size) resolve();
    const forget = onFinish(({ message }) => {
      left.delete(message.generation_id ?? "");
      if (left.size) return;
      forget();
      resolve();
    });
  });
}

/** Has every reply of these columns end where it is. */
export async function stopAll(threads: readonly Conversation[]): Promise<void> {
  const writing = threads.flatMap(({ messages }) => messages.filter(({ state }) => state === "pending"));
  await Promise.allSettled(writing.map(({ generation_id }) => generation_id && stop(generation_id)));
}

/** Deletes a comparison with all its columns. Raises `Problem`. */
export async function remove(queries: QueryClient, group: string, columns: readonly ConversationRow[]): Promise<void> {
  for (const { id } of columns) {
    await call("DELETE /api/conversations/{conversation_id}", { path: { conversation_id: id } });
    queries.removeQueries({ queryKey: ["conversation", id] });
  }
  queries.removeQueries({ queryKey: ["comparing", group] });
  await queries.invalidateQueries({ queryKey: ["comparing"], exact: true });
}
