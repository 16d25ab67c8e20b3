// ‹ 2/3 ›: the versions of a message, which are its siblings in the tree.

import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { Message } from "../api.gen";
import { announce } from "../shared/announce";
import { Problem } from "../shared/api";
import { useText } from "../shared/i18n";
import { select } from "./conversations";
import { text as catalogue } from "./text";

export function Versions({ message }: { message: Message }) {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const [problem, setProblem] = useState("");
  const { siblings } = message;
  const at = siblings.indexOf(message.id);
  if (siblings.length < 2) return null;
  const turn = async (by: number) => {
    const next = siblings[at + by];
    if (!next) return;
    try {
      await select(queries, message.conversation_id, next);
      setProblem("");
      announce(text.versionOf(at + by + 1, siblings.length));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    }
  };
  // Not `disabled` at the ends: a button that goes to sleep under the finger loses the focus.
  return (
    <span className="versions" role="group" aria-label={text.versions}>
      <button
        type="button"
        className="quiet"
        aria-label={text.versionBefore}
        aria-disabled={at === 0}
        onClick={() => turn(-1)}
      >
        ‹
      </button>
      <span role="img" aria-label={text.versionOf(at + 1, siblings.length)}>
        {at + 1}/{siblings.length}
      </span>
      <button
        type="button"
        className="quiet"
        aria-label={text.versionAfter}
        aria-disabled={at === siblings.length - 1}
        onClick={() => turn(1)}
      >
        ›
      </button>
      {problem && (
        <span className="bad" role="alert">
          {problem}
        </span>
      )}
    </span>
  );
}
