// Saying something: a turn, once, however often it has to be sent.

import type { QueryClient } from "@tanstack/react-query";
import type { Message } from "../api.gen";
import { call, Problem } from "../shared/api";
import { keep, kept } from "../shared/store";
import { putTurn } from "./conversations";
import type { Turn } from "./types";

export type Saying = {
  readonly conversation: string;
  readonly parent: string | null;
  readonly content: string;
  readonly releases: readonly string[];
};

type Asked = Pick<Saying, "parent" | "content"> & { client: string };

/** Says something in a conversation. The same words to the same parent are one request, also after a reload.
 * Raises `Problem`. */
export async function say(queries: QueryClient, { conversation, parent, content, releases }: Saying): Promise<Turn> {
  const turn = await call("POST /api/conversations/{conversation_id}/turns", {
    path: { conversation_id: conversation },
    body: { parent_id: parent, content, releases, client_id: clientOf(conversation, parent, content) },
  });
  keep(asking(conversation), null);
  await putTurn(queries, conversation, turn);
  return turn;
}

/** Whether these words, asked for without an answer reaching us, have arrived after all. */
export function hasArrived(conversation: string, words: string, messages: readonly Message[]): boolean {
  const asked = askedIn(conversation);
  if (!asked || asked.content !== words) return false;
  return messages.some(
    ({ role, parent_id, content }) => role === "user" && parent_id === asked.parent && content === words,
  );
}

/** Begins a conversation for a first message and says it; where that is refused, nothing is left of it. */
export async function sayFirst(
  queries: QueryClient,
  content: string,
  releases: readonly string[],
  began: (conversation: string) => void,
): Promise<void> {
  const conversation = kept("beginning") ?? (await begin());
  try {
    await say(queries, { conversation, parent: null, content, releases });
  } catch (error) {
    if (error instanceof Problem && isRefusal(error)) await forget(conversation);
    throw error;
  }
  keep("beginning", null);
  began(conversation);
}

/** Has a reply written again beside the old one. Raises `Problem`. */
export async function regenerate(queries: QueryClient, message: Message, release: string | null): Promise<void> {
  const turn = await call("POST /api/messages/{message_id}/regenerate", {
    path: { message_id: message.id },
    body: { client_id: crypto.randomUUID(), release },
  });
  await putTurn(queries, message.conversation_id, turn);
}

/** Has a reply end where it is. */
export function stop(generation: string): Promise<unknown> {
  return call("POST /api/generations/{generation_id}/stop", { path: { generation_id: generation } });
}

async function begin(): Promise<string> {
  const { id } = await call("POST /api/conversations", { body: {} });
  keep("beginning", id);
  return id;
}

async function forget(conversation: string): Promise<void> {
  keep("beginning", null);
  await call("DELETE /api/conversations/{conversation_id}", { path: { conversation_id: conversation } }).catch(
    () => undefined, // an empty conversation more
  );
}

/** An answer of the service's, and not that it is away, busy, or wants a sign-in first. */
function isRefusal({ status }: Problem): boolean {
  return status >= 400 && status < 500 && status !== 401 && status !== 429;
}

function clientOf(conversation: string, parent: string | null, content: string): string {
  const asked = askedIn(conversation);
  if (asked && asked.parent === parent && asked.content === content) return asked.client;
  const client = crypto.randomUUID();
  keep(asking(conversation), JSON.stringify({ parent, content, client } satisfies Asked));
  return client;
}

function askedIn(conversation: string): Asked | null {
  return JSON.parse(kept(asking(conversation)) ?? "null") as Asked | null;
}

function asking(conversation: string): string {
  return `asked.${conversation}`;
}
