// What a release is made of, what it was measured to do, and who decided what about it.

import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import type { ReleaseDetails } from "../api.gen";
import { call } from "../shared/api";
import { useText } from "../shared/i18n";
import { figure, moment, spoken } from "../shared/words";
import { text as catalogue } from "./text";

const DIGITS = 12;

export function Details({ name }: { name: string }) {
  const { data, error } = useQuery({
    queryKey: ["release", name],
    queryFn: ({ signal }) => call("GET /api/releases/{name}", { path: { name }, signal }),
  });
  if (error) return <p className="notice bad">{error.message}</p>;
  if (!data) return null;
  return (
    <div className="release-details">
      <Made details={data} />
      <Figures figures={data.figures} />
      <History history={data.history} />
    </div>
  );
}

function Made({ details }: { details: ReleaseDetails }) {
  const text = useText(catalogue);
  const { release, seed, commit, checkpoint, data, parents } = details;
  const from = parents.map((one) => one.release ?? one.digest.slice(0, DIGITS)).join(", ");
  return (
    <dl className="facts">
      <Fact name={text.run}>{release.run}</Fact>
      <Fact name={text.stage}>{release.stage}</Fact>
      <Fact name={text.seed}>{seed === null ? text.unknown : seed}</Fact>
      <Fact name={text.commit}>{commit?.slice(0, DIGITS) || text.unknown}</Fact>
      <Fact name={text.weights}>{checkpoint?.slice(0, DIGITS) ?? text.unknown}</Fact>
      <Fact name={text.data}>{data?.slice(0, DIGITS) ?? text.unknown}</Fact>
      <Fact name={text.parents}>{from || text.unknown}</Fact>
    </dl>
  );
}

function Figures({ figures }: { figures: ReleaseDetails["figures"] }) {
  const text = useText(catalogue);
  const told = Object.entries(figures);
  if (!told.length) return null;
  return (
    <>
      <h3>{text.figures}</h3>
      <dl className="facts">
        {told.map(([name, value]) => (
          <Fact key={name} name={spoken(name)}>
            {figure(value)}
          </Fact>
        ))}
      </dl>
    </>
  );
}

function History({ history }: { history: ReleaseDetails["history"] }) {
  const text = useText(catalogue);
  return (
    <>
      <h3>{text.history}</h3>
      {history.length === 0 && <p className="quietly">{text.noHistory}</p>}
      <ul>
        {history.map(({ action, state, by, at }) => (
          <li key={`${at} ${action} ${state}`}>
            {text.decision(text.happened[action] ?? action, state, by, moment(at))}
          </li>
        ))}
      </ul>
    </>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
