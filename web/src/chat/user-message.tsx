// What the person said: to copy, to edit (which makes another version beside it), and why it was not answered.

import { type KeyboardEvent, memo, useEffect, useRef, useState } from "react";
import type { Message } from "../api.gen";
import { Problem } from "../shared/api";
import { focusComposer } from "../shared/composer";
import { useText } from "../shared/i18n";
import { CopyButton } from "../shared/markdown";
import { keep, kept } from "../shared/store";
import { text as catalogue } from "./text";
import { Blocked, Warning } from "./verdict";
import { Versions } from "./versions";

type Props = {
  message: Message;
  isEdited: boolean;
  closed: boolean;
  onEditing: (message: string | null) => void;
  onEdited: (content: string, parent: string | null) => Promise<void>;
};

export const UserMessage = memo(function UserMessage({ message, isEdited, closed, onEditing, onEdited }: Props) {
  const text = useText(catalogue);
  const isBlocked = message.state === "blocked";
  return (
    <article className="said" aria-label={text.youSaid}>
      <h2 className="hidden">{text.youSaid}</h2>
      {message.verdict?.action === "warn" && <Warning message={message} verdict={message.verdict} />}
      {isEdited ? (
        <Edit message={message} onEditing={onEditing} onEdited={onEdited} />
      ) : (
        <div className="bubble">{message.content}</div>
      )}
      {isBlocked && <Blocked message={message} />}
      {!isEdited && (
        <div className="under">
          <Versions message={message} />
          <CopyButton text={message.content} />
          {!closed && (
            <button type="button" className="quiet" onClick={() => onEditing(message.id)}>
              {text.edit}
            </button>
          )}
        </div>
      )}
    </article>
  );
});

/** The box in the message's place. What is typed is kept on this device until it was sent or given up. */
function Edit({ message, onEditing, onEdited }: Pick<Props, "message" | "onEditing" | "onEdited">) {
  const text = useText(catalogue);
  const key = `edit.${message.id}`;
  const box = useRef<HTMLTextAreaElement>(null);
  const [value, setValue] = useState(() => kept(key) ?? message.content);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    box.current?.focus();
    box.current?.setSelectionRange(box.current.value.length, box.current.value.length);
  }, []);
  const over = () => {
    keep(key, null);
    onEditing(null);
    focusComposer();
  };
  const send = async () => {
    if (!value.trim()) return;
    try {
      await onEdited(value.trim(), message.parent_id);
      over();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    }
  };
  const typed = (event: KeyboardEvent) => {
    if (event.key === "Escape") over();
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    void send();
  };
  return (
    <form
      className="edit"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      {problem && (
        <p className="notice bad" role="alert">
          {problem} {text.stillInTheBox}
        </p>
      )}
      <textarea
        ref={box}
        aria-label={text.editLabel}
        rows={Math.min(12, value.split("\n").length + 1)}
        value={value}
        onChange={(event) => {
          setValue(event.target.value);
          keep(key, event.target.value);
        }}
        onKeyDown={typed}
      />
      <p className="quietly small">{text.editHint}</p>
      <p className="actions">
        <button type="button" className="plain-button" onClick={over}>
          {text.cancel}
        </button>
        <button type="submit" className="primary" disabled={!value.trim()}>
          {text.sendEdited}
        </button>
      </p>
    </form>
  );
}
