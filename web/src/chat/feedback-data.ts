// What a person says of an answer. While the server is away it waits on this device.

import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { Feedback, FeedbackAsk, Message } from "../api.gen";
import { call, connection, Problem } from "../shared/api";
import { createStore, keep, kept, useStore } from "../shared/store";
import { putMessage } from "./conversations";

/** What was said and waits for the server, by message; null takes back. */
type Waiting = Readonly<Record<string, FeedbackAsk | null>>;

const waiting = createStore<Waiting>(JSON.parse(kept("feedback-waiting") ?? "{}") as Waiting);
/** The message whose form is open. */
const formOf = createStore<string | null>(null);

/** Whether a message is an answer that feedback can be about. */
export function canBeJudged({ role, state }: Message): boolean {
  return role === "assistant" && ["complete", "stopped", "length"].includes(state);
}

export type FeedbackOf = ReturnType<typeof useFeedback>;

/** The feedback on a message, and the ways to change it. */
export function useFeedback(message: Message | undefined) {
  const queries = useQueryClient();
  const [problem, setProblem] = useState("");
  const { [message?.id ?? ""]: unsent } = useStore(waiting);
  const isOpen = useStore(formOf) === message?.id && message !== undefined;
  const given: Feedback | FeedbackAsk | null = unsent === undefined ? (message?.feedback ?? null) : unsent;
  const open = (on: boolean) => formOf.set(on && message ? message.id : null);
  const put = async (ask: FeedbackAsk | null): Promise<boolean> => {
    if (!message) return false;
    try {
      await send(queries, message, ask);
      setProblem("");
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
      return false;
    }
  };
  const thumb = (value: "up" | "down") => {
    if (!message || !canBeJudged(message)) return;
    if (value === "up") {
      open(false);
      void put(given?.value === "up" ? null : { value });
    } else if (given?.value === "down") {
      open(!isOpen);
    } else {
      void put({ value });
      open(true);
    }
  };
  return { message, given, isWaiting: unsent !== undefined, isOpen, open, put, thumb, problem };
}

/** Sends what waits, once the server is back. What it refuses then is gone with its message. */
export async function sendWaiting(queries: QueryClient): Promise<void> {
  for (const [id, ask] of Object.entries(waiting.get())) {
    try {
      const message = await call("GET /api/messages/{message_id}", { path: { message_id: id } });
      await send(queries, message, ask);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.status === 0 || error.status === 401) return;
    }
    wait(id, undefined);
  }
}

/** Has `again` called whenever the server, or the network, is back. Returns what ends that. */
export function onServerBack(again: () => void): () => void {
  window.addEventListener("online", again);
  const unsubscribe = connection.subscribe(() => connection.get() === "ok" && again());
  return () => {
    window.removeEventListener("online", again);
    unsubscribe();
  };
}

async function send(queries: QueryClient, message: Message, ask: FeedbackAsk | null): Promise<void> {
  const path = { message_id: message.id };
  try {
    const feedback = ask
      ? await call("PUT /api/messages/{message_id}/feedback", { path, body: ask })
      : await call("DELETE /api/messages/{message_id}/feedback", { path });
    putMessage(queries, { ...message, feedback: feedback ?? null });
    wait(message.id, undefined);
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 0) throw error;
    wait(message.id, ask);
  }
}

function wait(id: string, ask: FeedbackAsk | null | undefined): void {
  const { [id]: _, ...others } = waiting.get();
  const next = ask === undefined ? others : { ...others, [id]: ask };
  keep("feedback-waiting", Object.keys(next).length ? JSON.stringify(next) : null);
  waiting.set(next);
}
