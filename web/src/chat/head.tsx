// Above a conversation: its title, whether it may be learnt from, and what can be done with the whole of it.

import { useQueryClient } from "@tanstack/react-query";
import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import type { Conversation } from "../api.gen";
import { ShareDialog } from "../share/dialog";
import { announce } from "../shared/announce";
import { Problem } from "../shared/api";
import { Dialog } from "../shared/dialog";
import { useText } from "../shared/i18n";
import { useMe } from "../shared/me";
import { go } from "../shared/router";
import { useShortcut } from "../shared/shortcuts";
import { changeConversation, deleteConversation } from "./conversations";
import { text as catalogue } from "./text";

const MAX_TITLE = 200;

export function Head({ conversation }: { conversation: Conversation }) {
  const text = useText(catalogue);
  const [renaming, setRenaming] = useState(false);
  const [sharing, setSharing] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const title = conversation.title || text.untitled;
  useShortcut({ keys: "t", label: text.rename, run: () => setRenaming(true) });
  useShortcut({ keys: "s", label: text.share, run: () => setSharing(true) });
  return (
    <header className="head">
      <div className="head-row">
        {renaming ? (
          <Rename conversation={conversation} onDone={() => setRenaming(false)} />
        ) : (
          <h1 tabIndex={-1} title={title}>
            {title}
          </h1>
        )}
        <div className="head-actions">
          <Training conversation={conversation} />
          <button type="button" className="quiet" id="rename" onClick={() => setRenaming(true)}>
            {text.rename}
          </button>
          <button type="button" className="quiet" onClick={() => setSharing(true)}>
            {text.share}
          </button>
          <button type="button" className="quiet" onClick={() => setDeleting(true)}>
            {text.delete}
          </button>
        </div>
      </div>
      <ShareDialog open={sharing} onClose={() => setSharing(false)} conversation={conversation} />
      <Delete open={deleting} onClose={() => setDeleting(false)} id={conversation.id} title={title} />
    </header>
  );
}

function Rename({ conversation, onDone }: { conversation: Conversation; onDone: () => void }) {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const field = useRef<HTMLInputElement>(null);
  const [title, setTitle] = useState(conversation.title);
  const [problem, setProblem] = useState("");
  useEffect(() => field.current?.select(), []);
  const over = () => {
    onDone();
    document.getElementById("rename")?.focus();
  };
  const save = async () => {
    const wanted = title.trim();
    if (!wanted || wanted === conversation.title) return over();
    try {
      await changeConversation(queries, conversation.id, { title: wanted });
      over();
    } catch (error) {
      setProblem(sentence(error));
    }
  };
  const typed = (event: KeyboardEvent) => {
    if (event.key === "Escape") over();
  };
  return (
    <form
      className="rename"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <input
        ref={field}
        aria-label={text.newTitle}
        maxLength={MAX_TITLE}
        value={title}
        onChange={(event) => setTitle(event.target.value)}
        onKeyDown={typed}
      />
      <button type="submit" className="primary">
        {text.save}
      </button>
      {problem && (
        <p className="bad" role="alert">
          {problem}
        </p>
      )}
    </form>
  );
}

function Delete({ open, onClose, id, title }: { open: boolean; onClose: () => void; id: string; title: string }) {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const [problem, setProblem] = useState("");
  const remove = async () => {
    try {
      await deleteConversation(queries, id);
      announce(text.deleted);
      go("/", { replace: true });
    } catch (error) {
      setProblem(sentence(error));
    }
  };
  return (
    <Dialog open={open} onClose={onClose} title={text.deleteTitle}>
      <p>{text.deleteHint(title)}</p>
      {problem && (
        <p className="bad" role="alert">
          {problem}
        </p>
      )}
      <p className="actions">
        <button type="button" className="plain-button" onClick={onClose}>
          {text.cancel}
        </button>
        <button type="button" className="plain-button bad" onClick={remove}>
          {text.delete}
        </button>
      </p>
    </Dialog>
  );
}

/** Whether this conversation may be learnt from: as the account says, or otherwise. Always in sight. */
function Training({ conversation }: { conversation: Conversation }) {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const account = useMe()?.consent.train === true;
  const [problem, setProblem] = useState("");
  const change = async (use: string) => {
    try {
      await changeConversation(queries, conversation.id, { training_use: use as Conversation["training_use"] });
      setProblem("");
    } catch (error) {
      setProblem(sentence(error));
    }
  };
  return (
    <label className="training" title={text.trainingHint}>
      <span aria-hidden="true">⚑ </span>
      <span className="hidden">{text.training}</span>
      <select value={conversation.training_use} onChange={(event) => change(event.target.value)}>
        <option value="inherit">{text.trainingInherit(account)}</option>
        <option value="no">{text.trainingNo}</option>
        <option value="yes">{text.trainingYes}</option>
      </select>
      {problem && (
        <span className="bad" role="alert">
          {problem}
        </span>
      )}
    </label>
  );
}

function sentence(error: unknown): string {
  if (error instanceof Problem) return error.message;
  throw error;
}
