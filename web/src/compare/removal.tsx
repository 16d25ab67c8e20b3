// Deleting a comparison: said plainly, confirmed, done.

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { ConversationRow } from "../api.gen";
import { Dialog } from "../shared/dialog";
import { useText } from "../shared/i18n";
import { go } from "../shared/router";
import { remove } from "./data";
import { text as catalogue } from "./text";

export function Removal({ group, columns }: { group: string; columns: readonly ConversationRow[] }) {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const [open, setOpen] = useState(false);
  const removal = useMutation({
    mutationFn: () => remove(queries, group, columns),
    onSuccess: () => go("/compare", { replace: true }),
  });
  return (
    <>
      <button type="button" className="link" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        {text.remove}
      </button>
      <Dialog open={open} title={text.removeTitle} onClose={() => setOpen(false)}>
        <p className="lead">{text.removeHint}</p>
        {removal.error && (
          <p className="notice bad" role="alert">
            {removal.error.message}
          </p>
        )}
        <p className="actions">
          <button type="button" className="plain-button" onClick={() => setOpen(false)}>
            {text.cancel}
          </button>
          <button type="button" className="primary" disabled={removal.isPending} onClick={() => removal.mutate()}>
            {text.confirmRemove}
          </button>
        </p>
      </Dialog>
    </>
  );
}
