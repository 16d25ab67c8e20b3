// The keys that work on the last exchange.

import { useQueryClient } from "@tanstack/react-query";
import type { Conversation } from "../api.gen";
import { announce } from "../shared/announce";
import { useText } from "../shared/i18n";
import { useShortcut } from "../shared/shortcuts";
import { select } from "./conversations";
import { useFeedback } from "./feedback-data";
import { useRegenerate } from "./regenerate";
import { text as catalogue } from "./text";

/** Edit, write again, copy, thumbs and versions by single keys. */
export function useKeysOfLast({ id, messages, closed }: Conversation, onEditing: (message: string) => void): void {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const reply = messages.findLast((one) => one.role === "assistant");
  const said = messages.findLast((one) => one.role === "user");
  const regenerate = useRegenerate(reply);
  const { thumb } = useFeedback(reply);
  const turned = (by: number) => {
    const siblings = reply?.siblings ?? [];
    const at = siblings.indexOf(reply?.id ?? "") + by;
    const next = siblings[at];
    if (!next) return;
    void select(queries, id, next).then(
      () => announce(text.versionOf(at + 1, siblings.length)),
      () => undefined, // the version of now stays
    );
  };
  const copied = () =>
    void navigator.clipboard?.writeText(reply?.content ?? "").then(
      () => announce(text.copiedAnswer),
      () => undefined,
    );
  useShortcut({ keys: "e", label: text.editLast, run: () => said && !closed && onEditing(said.id) });
  useShortcut({ keys: "r", label: text.regenerateLast, run: () => !closed && regenerate.run() });
  useShortcut({ keys: "y", label: text.copyLast, run: copied });
  useShortcut({ keys: "+", label: text.thumbUpLast, run: () => thumb("up") });
  useShortcut({ keys: "-", label: text.thumbDownLast, run: () => thumb("down") });
  useShortcut({ keys: "[", label: text.versionBefore, run: () => turned(-1) });
  useShortcut({ keys: "]", label: text.versionAfter, run: () => turned(1) });
}
