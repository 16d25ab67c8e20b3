// Promoting and rolling back: said plainly, confirmed, done.

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";
import type { Release, Releases } from "../api.gen";
import { announce } from "../shared/announce";
import { call } from "../shared/api";
import { Dialog } from "../shared/dialog";
import { useText } from "../shared/i18n";
import { text as catalogue } from "./text";

export type Decision = { kind: "promote" | "rollback"; release: Release };
type State = Release["state"];

const STATES: readonly State[] = ["live", "canary", "shadow", "candidate", "retired"];
const DEFAULT_SHARE = 10; // per cent

export function Deciding({ decision, close }: { decision: Decision | null; close: () => void }) {
  const text = useText(catalogue);
  if (!decision) return null;
  const { kind, release } = decision;
  const title = kind === "promote" ? text.promoteTitle(release.label) : text.rollbackTitle(release.label);
  return (
    <Dialog open title={title} onClose={close}>
      {kind === "promote" ? (
        <Promoting release={release} close={close} />
      ) : (
        <RollingBack release={release} close={close} />
      )}
    </Dialog>
  );
}

function Promoting({ release, close }: { release: Release; close: () => void }) {
  const text = useText(catalogue);
  const [state, setState] = useState<State>("live");
  const [percent, setPercent] = useState(DEFAULT_SHARE);
  const path = { name: release.name };
  const share = state === "canary" ? percent / 100 : null;
  const decided = useDecided(
    () => call("POST /api/releases/{name}/promote", { path, body: { state, share } }),
    release,
    close,
  );
  return (
    <form onSubmit={(event) => decided.submit(event)}>
      <p className="lead">{text.promoteHint}</p>
      <fieldset className="states">
        <legend>{text.to}</legend>
        {STATES.map((one) => (
          <label key={one} className="check">
            <input type="radio" name="state" checked={one === state} onChange={() => setState(one)} />
            <span>
              {text.states[one]} <small className="quietly">{text.stateHints[one]}</small>
            </span>
          </label>
        ))}
      </fieldset>
      {state === "canary" && <Share percent={percent} setPercent={setPercent} />}
      <Buttons confirm={text.confirmPromote(text.states[state])} close={close} {...decided} />
    </form>
  );
}

function Share({ percent, setPercent }: { percent: number; setPercent: (percent: number) => void }) {
  const text = useText(catalogue);
  const id = useId();
  return (
    <p className="share">
      <label htmlFor={id}>{text.shareLabel}</label>
      <input
        id={id}
        type="number"
        min={1}
        max={99}
        required
        value={percent}
        onChange={(event) => setPercent(event.target.valueAsNumber)}
      />
    </p>
  );
}

function RollingBack({ release, close }: { release: Release; close: () => void }) {
  const text = useText(catalogue);
  const path = { name: release.name };
  const decided = useDecided(() => call("POST /api/releases/{name}/rollback", { path, body: {} }), release, close);
  return (
    <form onSubmit={(event) => decided.submit(event)}>
      <p className="lead">{release.state === "live" ? text.rollbackDefault : text.rollbackOther}</p>
      <Buttons confirm={text.confirmRollback} close={close} {...decided} />
    </form>
  );
}

type Decided = { submit: (event: React.FormEvent) => void; problem: string; isPending: boolean };

function Buttons({
  confirm,
  close,
  problem,
  isPending,
}: { confirm: string; close: () => void } & Omit<Decided, "submit">) {
  const text = useText(catalogue);
  return (
    <>
      {problem && (
        <p className="notice bad" role="alert">
          {problem}
        </p>
      )}
      <p className="actions">
        <button type="button" className="plain-button" onClick={close}>
          {text.cancel}
        </button>
        <button type="submit" className="primary" disabled={isPending}>
          {confirm}
        </button>
      </p>
    </>
  );
}

/** Does it, shows the releases as they are then, and says so. */
function useDecided(decide: () => Promise<Releases>, release: Release, close: () => void): Decided {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const { mutate, error, isPending } = useMutation({
    mutationFn: decide,
    onSuccess: (releases) => {
      queries.setQueryData(["releases"], releases);
      void queries.invalidateQueries({ queryKey: ["release", release.name] });
      const now = releases.releases.find(({ name }) => name === release.name);
      if (now) announce(text.nowIs(now.label, text.states[now.state]));
      close();
    },
  });
  const submit = (event: React.FormEvent) => {
    event.preventDefault();
    mutate();
  };
  return { submit, problem: error?.message ?? "", isPending };
}
