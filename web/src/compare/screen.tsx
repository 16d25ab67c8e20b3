// One question to several releases: the answers side by side, each with a conversation of its own.

import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef, useState } from "react";
import type { Conversation, ConversationRow, Release } from "../api.gen";
import { putMessage } from "../chat/conversations";
import { announce } from "../shared/announce";
import { Problem } from "../shared/api";
import { Composer } from "../shared/composer";
import { onFinish } from "../shared/generation";
import { useText } from "../shared/i18n";
import { useReleaseLabels, useReleases } from "../shared/releases";
import { go, Link, usePlace, useTitle } from "../shared/router";
import { Chooser, useChosen } from "./chooser";
import "./compare.css";
import { askAll, begin, remove, stopAll, useColumns, useThreads } from "./data";
import { Removal } from "./removal";
import { roundsOf } from "./rounds";
import { Rounds } from "./rounds-view";
import { text as catalogue } from "./text";
import { Welcome } from "./welcome";

const NEAR_END_PX = 80;

export default function Compare() {
  const text = useText(catalogue);
  const group = new URLSearchParams(usePlace().search).get("group");
  useTitle(text.title);
  const { data: releases } = useReleases();
  const { data: columns } = useColumns(group);
  if (!releases || (group && !columns)) return null;
  if (group && columns?.length === 0) return <Nothing said={text.gone} to="/compare" link={text.anew} />;
  if (releases.length < 2 && !group) return <Nothing said={text.tooFew} to="/run" link={text.toRun} />;
  return <Comparing group={group} columns={columns ?? []} releases={releases} />;
}

function Nothing({ said, to, link }: { said: string; to: string; link: string }) {
  const text = useText(catalogue);
  return (
    <div className="page">
      <h1 tabIndex={-1}>{text.title}</h1>
      <p className="lead">{said}</p>
      <p>
        <Link to={to}>{link}</Link>
      </p>
    </div>
  );
}

function Comparing(props: { group: string | null; columns: readonly ConversationRow[]; releases: readonly Release[] }) {
  const text = useText(catalogue);
  const { group, columns, releases } = props;
  const threads = useThreads(columns);
  const { chosen, choose } = useChosen(releases);
  const asking = useAsking(group, columns, threads, chosen);
  const rounds = roundsOf(threads);
  useFinished(columns);
  return (
    <div className="comparing">
      <Scroller follow={rounds.length}>
        <header className="compare-head">
          <h1 tabIndex={-1}>{rounds.length ? text.title : text.welcome}</h1>
          {group && <Link to="/compare">{text.anew}</Link>}
          {group && <Removal group={group} columns={columns} />}
        </header>
        {rounds.length === 0 && <Welcome isNew={!group} />}
        <Rounds rounds={rounds} columns={columns} waiting={asking.waiting} ask={asking.askColumn} />
      </Scroller>
      <Composer
        label={text.box}
        placeholder={group || chosen.length > 1 ? text.box : text.boxEmpty}
        busy={asking.busy}
        disabled={!group && chosen.length < 2}
        draft={`compare.${group ?? "new"}`}
        onSend={asking.askEverybody}
        onStop={asking.stop}
        problem={asking.problem}
        focusOn={group}
      >
        {!group && <Chooser releases={releases} chosen={chosen} choose={choose} />}
      </Composer>
    </div>
  );
}

/** Asking the columns; the first time they are made of the releases that were chosen. */
function useAsking(
  group: string | null,
  columns: readonly ConversationRow[],
  threads: readonly Conversation[],
  chosen: readonly Release[],
) {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const [waiting, setWaiting] = useState<readonly string[]>([]);
  const [problem, setProblem] = useState("");
  const stopping = useRef(new AbortController());
  const isWritten = threads.some(({ messages }) => messages.at(-1)?.state === "pending");
  const ask = async (asked: readonly ConversationRow[], content: string) => {
    stopping.current = new AbortController();
    const ids = asked.map(({ id }) => id);
    const refusal = await askAll(queries, ids, content, { waits: setWaiting, signal: stopping.current.signal });
    if (refusal) throw refusal;
  };
  const askFirst = async (content: string) => {
    const begun = await begin(queries, chosen);
    try {
      await ask(begun.columns, content);
    } catch (error) {
      await remove(queries, begun.group, begun.columns).catch(() => undefined); // empty conversations more
      throw error;
    }
    go(`/compare?group=${begun.group}`, { replace: true });
    void queries.invalidateQueries({ queryKey: ["comparing"], exact: true });
  };
  const told = async (asking: Promise<void>) => {
    setProblem("");
    try {
      await asking;
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(text.nobody(error.message));
      return false;
    }
  };
  return {
    waiting,
    problem,
    busy: isWritten || waiting.length > 0,
    askColumn: (column: ConversationRow, content: string) => void told(ask([column], content)),
    askEverybody: (content: string) => told(group ? ask(columns, content) : askFirst(content)),
    stop: () => {
      stopping.current.abort();
      void stopAll(threads);
    },
  };
}

/** Puts replies that came to their end where they belong, and tells them to screen readers whole. */
function useFinished(columns: readonly ConversationRow[]): void {
  const queries = useQueryClient();
  const label = useReleaseLabels();
  useEffect(
    () =>
      onFinish(({ message }) => {
        const column = columns.find(({ id }) => id === message.conversation_id);
        if (!column) return;
        putMessage(queries, message);
        announce(`${label(column.release)}: ${message.content}`);
      }),
    [queries, columns, label],
  );
}

/** The rounds; a new one comes into view, and the end stays in view while it grows. */
function Scroller({ follow, children }: { follow: number; children: ReactNode }) {
  const box = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `follow` says when
  useEffect(() => {
    const [outer, content] = [box.current, inner.current];
    if (!outer || !content) return;
    outer.scrollTop = outer.scrollHeight;
    const sizes = new ResizeObserver(() => {
      const left = outer.scrollHeight - outer.scrollTop - outer.clientHeight;
      if (left < NEAR_END_PX) outer.scrollTop = outer.scrollHeight;
    });
    sizes.observe(content);
    return () => sizes.disconnect();
  }, [follow]);
  return (
    <div className="compare-scroller" ref={box}>
      <div className="compare-inner" ref={inner}>
        {children}
      </div>
    </div>
  );
}
