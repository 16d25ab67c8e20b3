// Below an answer that stood beside another: what was chosen, and who wrote them.

import { useText } from "../shared/i18n";
import { useComparison } from "./at-work";
import { useReleaseLabel } from "./release-label";
import { text as catalogue } from "./text";

export function PairNote({ comparison: id }: { comparison: string }) {
  const text = useText(catalogue);
  const comparison = useComparison(id);
  const [left, right] = [
    useReleaseLabel(comparison?.revealed?.[0] ?? null),
    useReleaseLabel(comparison?.revealed?.[1] ?? null),
  ];
  if (!comparison) return null;
  const { outcome, kind } = comparison;
  if (!outcome) return <p className="quietly small">{text.notVoted}</p>;
  return (
    <p className="quietly small">
      {text.voted[outcome]} {kind === "versus" && text.revealed(left, right)}
    </p>
  );
}
