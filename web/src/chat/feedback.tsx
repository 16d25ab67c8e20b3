// Thumbs, and in place below the answer: what was wrong with it and what it should have said. Never a modal.

import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import type { Feedback, FeedbackAsk } from "../api.gen";
import { announce } from "../shared/announce";
import { useText } from "../shared/i18n";
import { useMe } from "../shared/me";
import { keep, kept } from "../shared/store";
import { useThread } from "./conversations";
import type { FeedbackOf } from "./feedback-data";
import { text as catalogue } from "./text";
import type { Reason } from "./types";

const REASONS: readonly Reason[] = ["harmful", "false", "unhelpful", "too_long", "other"];

type Draft = { reasons: readonly Reason[]; note: string; ideal: string };

export function Thumbs({ feedback: { message, given, thumb, isOpen } }: { feedback: FeedbackOf }) {
  const text = useText(catalogue);
  return (
    <>
      <button
        type="button"
        className="quiet thumb"
        aria-pressed={given?.value === "up"}
        aria-label={text.thumbUp}
        title={text.thumbUp}
        onClick={() => thumb("up")}
      >
        <Thumb />
      </button>
      <button
        type="button"
        className="quiet thumb down"
        id={`down-${message?.id}`}
        aria-pressed={given?.value === "down"}
        aria-expanded={isOpen}
        aria-label={text.thumbDown}
        title={text.thumbDown}
        onClick={() => thumb("down")}
      >
        <Thumb />
      </button>
    </>
  );
}

/** The form while it is open; else a line on what was said, where there is something to say. */
export function FeedbackForm({ feedback }: { feedback: FeedbackOf }) {
  const text = useText(catalogue);
  const { message, given, isOpen, isWaiting, problem } = feedback;
  if (!message) return null;
  return (
    <>
      {problem && (
        <p className="notice bad" role="alert">
          {problem} {text.feedbackKept}
        </p>
      )}
      {isOpen ? (
        <Form key={message.id} feedback={feedback} />
      ) : (
        given && <Given given={given} isWaiting={isWaiting} onEdit={() => feedback.open(true)} />
      )}
    </>
  );
}

function Given({
  given,
  isWaiting,
  onEdit,
}: {
  given: Feedback | FeedbackAsk;
  isWaiting: boolean;
  onEdit: () => void;
}) {
  const text = useText(catalogue);
  const reasons = (given.reasons ?? []).map((reason) => text.reasons[reason]).join(", ");
  return (
    <p className="quietly small given">
      {given.value === "up" ? text.saidGood : text.saidBad(reasons)} {isWaiting && text.feedbackWaits}
      {given.value === "down" && (
        <button type="button" className="link" onClick={onEdit}>
          {text.change}
        </button>
      )}
    </p>
  );
}

function Form({ feedback: { message, given, put, open } }: { feedback: FeedbackOf }) {
  const text = useText(catalogue);
  const first = useRef<HTMLInputElement>(null);
  const key = `feedback.${message?.id}`;
  const [draft, setDraft] = useState<Draft>(() => ({ ...EMPTY, ...said(given), ...keptDraft(key) }));
  useEffect(() => first.current?.focus(), []);
  const change = (part: Partial<Draft>) => {
    const next = { ...draft, ...part };
    keep(key, JSON.stringify(next));
    setDraft(next);
  };
  const close = () => {
    open(false);
    document.getElementById(`down-${message?.id}`)?.focus();
  };
  const finish = async (ask: FeedbackAsk | null, told: string) => {
    if (!(await put(ask))) return;
    keep(key, null);
    announce(told);
    close();
  };
  const save = () => finish({ value: "down", ...draft }, text.thanks);
  const typed = (event: KeyboardEvent) => {
    if (event.key === "Escape") close();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void save();
  };
  return (
    <form
      className="aside feedback"
      onKeyDown={typed}
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <fieldset>
        <legend>{text.whatWasWrong}</legend>
        <div className="reasons">
          {REASONS.map((reason, index) => (
            <label key={reason} className="check">
              <input
                type="checkbox"
                ref={index ? null : first}
                checked={draft.reasons.includes(reason)}
                onChange={() => change({ reasons: toggled(draft.reasons, reason) })}
              />
              {text.reasons[reason]}
            </label>
          ))}
        </div>
      </fieldset>
      <label>
        {text.note}
        <textarea
          rows={2}
          maxLength={4000}
          value={draft.note}
          onChange={(event) => change({ note: event.target.value })}
        />
      </label>
      <label>
        {text.ideal}
        <textarea
          rows={3}
          maxLength={32000}
          value={draft.ideal}
          onChange={(event) => change({ ideal: event.target.value })}
        />
      </label>
      <WhatHappens conversation={message?.conversation_id ?? ""} />
      <p className="actions">
        <button type="button" className="quiet" onClick={() => finish(null, text.takenBack)}>
          {text.takeBack}
        </button>
        <button type="button" className="plain-button" onClick={close}>
          {text.notNow}
        </button>
        <button type="submit" className="primary">
          {text.save}
        </button>
      </p>
    </form>
  );
}

function WhatHappens({ conversation }: { conversation: string }) {
  const text = useText(catalogue);
  const me = useMe();
  const use = useThread(conversation).data?.training_use ?? "inherit";
  const learns = use === "yes" || (use === "inherit" && me?.consent.train === true);
  return <p className="quietly small">{learns ? text.goesToQueue : text.goesToPeople}</p>;
}

function Thumb() {
  return (
    <svg viewBox="0 0 20 20" width="16" height="16" aria-hidden="true" focusable="false">
      <path
        d="M3 9h3v8H3zM8.5 9l3-6.2c1.3 0 2 1 2 2.2L13 8h3.3c1 0 1.7.9 1.5 1.8l-1.3 5.7c-.2.9-1 1.5-1.9 1.5h-6.1z"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.5"
        strokeLinejoin="round"
      />
    </svg>
  );
}

const EMPTY: Draft = { reasons: [], note: "", ideal: "" };

function said(given: Feedback | FeedbackAsk | null): Partial<Draft> {
  if (given?.value !== "down") return {};
  return { reasons: given.reasons ?? [], note: given.note ?? "", ideal: given.ideal ?? "" };
}

function keptDraft(key: string): Partial<Draft> {
  return JSON.parse(kept(key) ?? "{}") as Partial<Draft>;
}

function toggled(reasons: readonly Reason[], reason: Reason): readonly Reason[] {
  return reasons.includes(reason) ? reasons.filter((one) => one !== reason) : [...reasons, reason];
}
