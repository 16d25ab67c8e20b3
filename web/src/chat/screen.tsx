// The chat: one conversation, or the beginning of one, and the box to say something.

import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useCallback, useEffect, useRef, useState } from "react";
import type { Conversation, Message } from "../api.gen";
import { announce } from "../shared/announce";
import { Problem } from "../shared/api";
import { Composer, focusComposer } from "../shared/composer";
import { onFinish } from "../shared/generation";
import { useText } from "../shared/i18n";
import { useChangeMe, useMe } from "../shared/me";
import { go, useTitle } from "../shared/router";
import { useShortcut } from "../shared/shortcuts";
import { keep, kept } from "../shared/store";
import { Answering, releasesAsked } from "./answering";
import { NONE, useAtWork } from "./at-work";
import "./chat.css";
import { changed, putMessage, useOtherTabs, useThread } from "./conversations";
import { Head } from "./head";
import { Preview } from "./preview";
import { hasArrived, say, sayFirst, stop } from "./say";
import { text as catalogue } from "./text";
import { Thread } from "./thread";

export default function Chat({ conversation }: { conversation: string | null }) {
  useOtherTabs();
  useFinishes();
  return conversation ? <Open key={conversation} id={conversation} /> : <Beginning />;
}

/** What there is before anything was said. */
function Beginning() {
  const text = useText(catalogue);
  const queries = useQueryClient();
  useTitle("");
  return (
    <div className="chat">
      <div className="scroller">
        <div className="column beginning">
          <h1 tabIndex={-1}>{text.beginning}</h1>
          <Preview />
        </div>
      </div>
      <Box
        draft="new"
        generations={NONE}
        closed={false}
        onSay={(content) => sayFirst(queries, content, releasesAsked(), (id) => go(`/c/${id}`))}
      />
    </div>
  );
}

function Open({ id }: { id: string }) {
  const text = useText(catalogue);
  const { data: thread, error } = useThread(id);
  useTitle(thread?.title ?? "");
  if (thread) return <Loaded id={id} thread={thread} />;
  if (!(error instanceof Problem)) return null;
  return (
    <div className="page">
      <h1 tabIndex={-1}>{text.noSuchChat}</h1>
      <p className="quietly">{error.status === 404 ? text.noSuchChatHint : error.message}</p>
    </div>
  );
}

function Loaded({ id, thread }: { id: string; thread: Conversation }) {
  const queries = useQueryClient();
  const [editing, setEditing] = useState<string | null>(null);
  const [saidCount, setSaidCount] = useState(0);
  useState(() => hasArrived(id, (kept(`draft.${id}`) ?? "").trim(), thread.messages) && keep(`draft.${id}`, null));
  const asked = useCallback(
    async (content: string, parent: string | null) => {
      await say(queries, { conversation: id, parent, content, releases: releasesAsked() });
      setSaidCount((count) => count + 1);
    },
    [queries, id],
  );
  return (
    <div className="chat">
      <Head conversation={thread} />
      <Thread thread={thread} follow={saidCount} editing={editing} onEditing={setEditing} onEdited={asked} />
      <Box
        draft={id}
        generations={useAtWork(thread)}
        closed={thread.closed}
        onSay={(content) => asked(content, parentFor(thread.messages))}
      />
    </div>
  );
}

/** The message box, with what is to be known before sending. */
function Box({
  draft,
  generations,
  closed,
  onSay,
}: {
  draft: string;
  generations: readonly string[];
  closed: boolean;
  onSay: (content: string) => Promise<void>;
}) {
  const text = useText(catalogue);
  const me = useMe();
  const changeMe = useChangeMe();
  const [problem, setProblem] = useState<ReactNode>(null);
  useShortcut({ keys: "/", label: text.toTheBox, run: focusComposer });
  const send = async (content: string) => {
    try {
      await onSay(content);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(<Kept problem={error} />);
      return false;
    }
    setProblem(null);
    if (me && !me.preview_seen) void changeMe({ preview_seen: true }).catch(ignored); // it is shown again
    return true;
  };
  return (
    <Composer
      label={text.box}
      placeholder={closed ? text.closed : text.box}
      draft={draft}
      focusOn={draft}
      disabled={closed}
      busy={generations.length > 0}
      onSend={send}
      onStop={() => void Promise.all(generations.map(stop)).catch((error) => setProblem(told(error)))}
      problem={problem}
    >
      <Answering />
    </Composer>
  );
}

/** Why something could not be sent, what was kept, and what to do. */
function Kept({ problem }: { problem: Problem }) {
  const text = useText(catalogue);
  if (problem.status === 0) return text.notReached;
  if (problem.status === 401) return text.notSignedIn;
  return (
    <>
      {problem.message} {text.stillInTheBox}
    </>
  );
}

/** Puts every reply that came to its end where it belongs, and tells screen readers. */
function useFinishes() {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const said = useRef(text);
  said.current = text;
  useEffect(
    () =>
      onFinish(({ message, state }) => {
        putMessage(queries, message);
        changed(queries, message.conversation_id);
        announce(state === "complete" ? said.current.answered(message.content) : said.current.ended[state]);
      }),
    [queries],
  );
}

/** What a new message follows: the last reply. One that was blocked is passed over, and replaced by the next. */
function parentFor(messages: readonly Message[]): string | null {
  const last = messages.at(-1);
  return last ? (last.role === "assistant" ? last.id : last.parent_id) : null;
}

function told(error: unknown): string {
  if (error instanceof Problem) return error.message;
  throw error;
}

function ignored(error: unknown): void {
  if (!(error instanceof Problem)) throw error;
}
