// How far the run is, in a few words for the sidebar; nothing where none goes.

import { useText } from "../shared/i18n";
import { duration, share, titleOf } from "../shared/words";
import { useRun } from "./data";
import { text as catalogue } from "./text";

export function RunGlance() {
  const text = useText(catalogue);
  const { data: run } = useRun();
  const stage = run?.stages.find(({ state }) => state === "running");
  if (run?.state !== "running" || !stage) return null;
  const left = run.remaining_seconds === null ? "" : ` · ${text.left(duration(run.remaining_seconds))}`;
  return (
    <small className="glance">
      {titleOf(stage.name)} {share(stage.done, stage.total)}
      {left}
    </small>
  );
}
