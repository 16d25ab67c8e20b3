// The upper part of the sidebar: a new chat, search, the history, and whose it is.

import { useQueryClient } from "@tanstack/react-query";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { useText } from "../shared/i18n";
import { useMe } from "../shared/me";
import { Link } from "../shared/router";
import { useShortcut } from "../shared/shortcuts";
import { onServerBack, sendWaiting } from "./feedback-data";
import { History } from "./history";
import { Hits } from "./hits";
import "./sidebar.css";
import { text as catalogue } from "./text";

const PAUSE_MS = 200;

export function Sidebar() {
  const text = useText(catalogue);
  const box = useRef<HTMLInputElement>(null);
  const [words, setWords] = useState("");
  const searched = useSettled(words.trim());
  useShortcut({ keys: "mod+k", label: text.search, always: true, run: () => box.current?.focus() });
  useWaitingFeedback();
  const typed = (event: KeyboardEvent) => {
    if (event.key === "Escape") setWords("");
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the keys go from one link in it to the next
    <div className="finding" onKeyDown={walk}>
      <Link to="/" className="new-chat">
        <span aria-hidden="true">+</span> {text.newChat}
      </Link>
      <search>
        <input
          ref={box}
          type="search"
          aria-label={text.search}
          placeholder={text.search}
          value={words}
          onChange={(event) => setWords(event.target.value)}
          onKeyDown={typed}
        />
      </search>
      {searched ? <Hits words={searched} /> : <History />}
      <Whose />
    </div>
  );
}

/** Who is signed in, and whether their words may be learnt from: always in sight. */
function Whose() {
  const text = useText(catalogue);
  const me = useMe();
  if (!me) return null;
  return (
    <Link to="/settings" className="whose">
      <span className="name">{me.name || text.nameless}</span>{" "}
      <span>
        {me.consent.train ? text.trainingOn : text.trainingOff} <span aria-hidden="true">⚑</span>
      </span>
    </Link>
  );
}

/** The arrow keys go from entry to entry. */
function walk(event: KeyboardEvent<HTMLElement>) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by) return;
  const stops = [...event.currentTarget.querySelectorAll<HTMLElement>("input[type=search], .entries a")];
  const at = stops.indexOf(document.activeElement as HTMLElement);
  const next = stops[at + by];
  if (at < 0 || !next) return;
  event.preventDefault();
  next.focus();
}

/** `value` once it has stayed the same for a moment; nothing at once. */
function useSettled(value: string): string {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), value ? PAUSE_MS : 0);
    return () => clearTimeout(timer);
  }, [value]);
  return value && settled;
}

/** Feedback that was given while the server was away is sent when it is back. */
function useWaitingFeedback() {
  const queries = useQueryClient();
  useEffect(() => {
    const again = () => void sendWaiting(queries);
    again();
    return onServerBack(again);
  }, [queries]);
}
