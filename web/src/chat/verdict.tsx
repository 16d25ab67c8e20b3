// What moderation said: a quiet banner over a message, or a card in its place.

import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef, useState } from "react";
import type { Message, Objection, Verdict } from "../api.gen";
import { announce } from "../shared/announce";
import { call, Problem } from "../shared/api";
import { useText } from "../shared/i18n";
import { rate, spoken } from "../shared/words";
import { putMessage } from "./conversations";
import { text as catalogue } from "./text";

/** A banner: the message is shown, with a word of warning. */
export function Warning({ message, verdict }: { message: Message; verdict: Verdict }) {
  const text = useText(catalogue);
  return (
    <Said className="warning" title={text.warned} message={message} verdict={verdict}>
      {message.role === "user" ? text.warnedYou : text.warnedReply}
    </Said>
  );
}

/** A card in the place of what is not shown, or was not sent on. */
export function Blocked({ message }: { message: Message }) {
  const text = useText(catalogue);
  const isUser = message.role === "user";
  const { verdict } = message;
  const title = isUser ? text.notSentOn : text.withdrawn;
  return (
    <Said className="blocked" title={title} message={message} verdict={verdict}>
      {isUser ? text.notSentOnHint : text.withdrawnHint}
    </Said>
  );
}

function Said({
  className,
  title,
  message,
  verdict,
  children,
}: {
  className: string;
  title: string;
  message: Message;
  verdict: Verdict | null;
  children: ReactNode;
}) {
  const text = useText(catalogue);
  return (
    <div className={`verdict ${className}`}>
      <h3>{title}</h3>
      <p>
        {verdict?.message} {children}
      </p>
      {verdict && (
        <details>
          <summary>{text.verdictDetails}</summary>
          <ul>
            {verdict.categories.map(({ name, score }) => (
              <li key={name}>
                {spoken(name)}: {rate(score)} %
              </li>
            ))}
          </ul>
          <p>{text.policy(verdict.policy)}</p>
        </details>
      )}
      {verdict && message.state !== "pending" && <Against message={message} />}
    </div>
  );
}

/** "This is wrong": said at once; why, and taking it back, in place. */
function Against({ message }: { message: Message }) {
  const text = useText(catalogue);
  const { put, problem } = useObjection(message);
  const [isOpen, setOpen] = useState(false);
  const id = `wrong-${message.id}`;
  const close = () => {
    setOpen(false);
    document.getElementById(id)?.focus();
  };
  const say = () => {
    setOpen(true);
    if (!message.objection) void put("", text.objected);
  };
  return (
    <>
      {problem && <p role="alert">{problem}</p>}
      {message.objection && <p>{text.objected}</p>}
      <button type="button" className="link" id={id} aria-expanded={isOpen} onClick={say}>
        {message.objection ? text.change : text.thisIsWrong}
      </button>
      {isOpen && message.objection && (
        <Reason
          objection={message.objection}
          onSave={(note) => put(note, text.objected).then(close)}
          onTakeBack={() => put(null, text.objectionTakenBack).then(close)}
        />
      )}
    </>
  );
}

function Reason({
  objection,
  onSave,
  onTakeBack,
}: {
  objection: Objection;
  onSave: (note: string) => void;
  onTakeBack: () => void;
}) {
  const text = useText(catalogue);
  const box = useRef<HTMLTextAreaElement>(null);
  useEffect(() => box.current?.focus(), []);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        onSave(box.current?.value ?? "");
      }}
    >
      <label>
        {text.whyWrong}
        <textarea ref={box} rows={2} maxLength={4000} defaultValue={objection.note} />
      </label>
      <p className="actions">
        <button type="button" className="quiet" onClick={onTakeBack}>
          {text.takeBack}
        </button>
        <button type="submit" className="plain-button">
          {text.save}
        </button>
      </p>
    </form>
  );
}

/** `put` objects with a note, or with null takes it back; `problem` says why that could not be. */
function useObjection(message: Message) {
  const queries = useQueryClient();
  const [problem, setProblem] = useState("");
  const path = { message_id: message.id };
  const put = async (note: string | null, told: string) => {
    try {
      const objection =
        note === null
          ? await call("DELETE /api/messages/{message_id}/objection", { path })
          : await call("PUT /api/messages/{message_id}/objection", { path, body: { note } });
      putMessage(queries, { ...message, objection: objection ?? null });
      setProblem("");
      announce(told);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    }
  };
  return { put, problem };
}
