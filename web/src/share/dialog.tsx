// Showing a conversation to others: a link to it as it now is, for as long as the person chooses.

import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { ConversationRow } from "../api.gen";
import { announce } from "../shared/announce";
import { Problem } from "../shared/api";
import { Dialog } from "../shared/dialog";
import { useText } from "../shared/i18n";
import { makeShare, useShares } from "./data";
import { isLive, ShareList } from "./list";
import { text as catalogue } from "./text";

const DAYS = [1, 7, 30, 90, null] as const;
const USUAL_DAYS = 30;

type Props = { open: boolean; onClose: () => void; conversation: ConversationRow };

export function ShareDialog({ open, onClose, conversation }: Props) {
  const text = useText(catalogue);
  return (
    <Dialog open={open} onClose={onClose} title={text.share}>
      <Sharing conversation={conversation} />
      <p className="actions">
        <button type="button" className="plain-button" onClick={onClose}>
          {text.close}
        </button>
      </p>
    </Dialog>
  );
}

function Sharing({ conversation }: { conversation: ConversationRow }) {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const [days, setDays] = useState<number | null>(USUAL_DAYS);
  const [problem, setProblem] = useState("");
  const shares = useShares(true)?.filter((one) => one.conversation_id === conversation.id && isLive(one)) ?? [];
  const make = async () => {
    try {
      await makeShare(queries, conversation.id, days);
      setProblem("");
      announce(text.made);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    }
  };
  return (
    <>
      <p className="quietly">{text.shareHint}</p>
      <p className="share-new">
        <label>
          {text.lasts}{" "}
          <select value={days ?? ""} onChange={(event) => setDays(Number(event.target.value) || null)}>
            {DAYS.map((count) => (
              <option key={count} value={count ?? ""}>
                {count === null ? text.forever : text.days(count)}
              </option>
            ))}
          </select>
        </label>
        <button type="button" className="primary" onClick={make}>
          {text.make}
        </button>
      </p>
      {problem && (
        <p className="notice bad" role="alert">
          {problem}
        </p>
      )}
      {shares.length > 0 && <h3>{text.linksOfThis}</h3>}
      <ShareList shares={shares} titled={false} />
    </>
  );
}
