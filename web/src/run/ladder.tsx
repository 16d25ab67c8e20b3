// The ladder: behaviours down, stages across, each rate with its interval and a quiet bar behind it.

import { useState } from "react";
import type { Evaluation, Interval, RunDetails } from "../api.gen";
import { useText } from "../shared/i18n";
import { plain, rate, spoken, titleOf } from "../shared/words";
import { text as catalogue } from "./text";

const SERVED = "T=0.7";
const DIGITS: Record<string, number> = {
  bits_per_byte: 3,
  dialogue_loss: 3,
  reward: 2,
  kl_nats: 2,
  tokens: 1,
  ended: 2,
};

export function Ladder({ details }: { details: RunDetails }) {
  const text = useText(catalogue);
  const { policies, evaluations } = details;
  const names = [...new Set(evaluations.flatMap(({ decodings }) => decodings.map(({ name }) => name)))];
  const [picked, setPicked] = useState(SERVED);
  const decoding = names.includes(picked) ? picked : (names[0] ?? SERVED);
  const told = { policies, evaluations, decoding };
  return (
    <section aria-labelledby="ladder-title" id="ladder">
      <div className="titled">
        <h2 id="ladder-title">{text.ladder}</h2>
        {names.length > 1 && <Choice names={names} picked={decoding} pick={setPicked} />}
      </div>
      {evaluations.length > 0 && <p className="lead">{names.length ? text.ladderHint : text.wordsHint}</p>}
      {evaluations.length === 0 ? (
        <p className="empty">{text.whenBase}</p>
      ) : (
        <div className="box" tabIndex={0} role="group" aria-labelledby="ladder-title">
          {names.length ? <Behaviours {...told} /> : <WordFigures {...told} />}
        </div>
      )}
    </section>
  );
}

function Choice({ names, picked, pick }: { names: readonly string[]; picked: string; pick: (name: string) => void }) {
  const text = useText(catalogue);
  return (
    <div className="choice" role="radiogroup" aria-label={text.decoding}>
      {names.map((name) => (
        <label key={name}>
          <input
            type="radio"
            className="hidden"
            name="decoding"
            value={name}
            checked={name === picked}
            onChange={() => pick(name)}
          />
          {name === "greedy" ? text.greedy : text.sampledAt(name)}
        </label>
      ))}
    </div>
  );
}

type Told = { policies: readonly string[]; evaluations: readonly Evaluation[]; decoding: string };

function Behaviours({ policies, evaluations, decoding }: Told) {
  const text = useText(catalogue);
  const found = policies.map((stage) =>
    evaluations.find((one) => one.stage === stage)?.decodings.find(({ name }) => name === decoding),
  );
  const keys = [...new Set(found.flatMap((one) => Object.keys(one?.behaviours ?? {})))].sort();
  const unwanted = Object.entries(text.unwantedRates).filter(([key]) => found.some((one) => one?.rates[key]));
  return (
    <table className="ladder">
      <Head policies={policies} first={text.behaviour} />
      <tbody>
        <tr className="total">
          <th scope="row">{text.goldReward}</th>
          {policies.map((stage, n) => (
            <GoldCell key={stage} gold={found[n]?.gold} />
          ))}
        </tr>
        <RateRow title={text.meanSuccess} className="total" rates={found.map((one) => one?.mean_success)} better={1} />
      </tbody>
      <Group title={text.behaviours} columns={policies.length}>
        {keys.map((key) => (
          <RateRow key={key} title={spoken(key)} rates={found.map((one) => one?.behaviours[key])} better={1} />
        ))}
      </Group>
      <Group title={text.unwanted} columns={policies.length}>
        {unwanted.map(([key, title]) => (
          <RateRow
            key={key}
            title={title}
            className="unwanted"
            rates={found.map((one) => one?.rates[key])}
            better={-1}
          />
        ))}
      </Group>
    </table>
  );
}

function WordFigures({ policies, evaluations }: Told) {
  const text = useText(catalogue);
  const found = policies.map((stage) => evaluations.find((one) => one.stage === stage)?.figures ?? {});
  const rows = Object.entries(text.wordFigures).filter(([key]) => found.some((one) => key in one));
  return (
    <table className="ladder">
      <Head policies={policies} first={text.measure} />
      <tbody>
        {rows.map(([key, title]) => (
          <tr key={key}>
            <th scope="row">{title}</th>
            {policies.map((stage, n) => (
              <FigureCell
                key={stage}
                value={found[n]?.[key]}
                error={found[n]?.[`${key} se`]}
                digits={DIGITS[key] ?? 2}
              />
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Head({ policies, first }: { policies: readonly string[]; first: string }) {
  return (
    <thead>
      <tr>
        <th scope="col">{first}</th>
        {policies.map((stage) => (
          <th key={stage} scope="col">
            {titleOf(stage)}
          </th>
        ))}
      </tr>
    </thead>
  );
}

function Group({ title, columns, children }: { title: string; columns: number; children: React.ReactNode[] }) {
  if (!children.length) return null;
  return (
    <tbody>
      <tr className="group">
        <th scope="rowgroup" colSpan={columns + 1}>
          {title}
        </th>
      </tr>
      {children}
    </tbody>
  );
}

type Rates = readonly (Interval | null | undefined)[];

/** `better` is 1 where more is better, −1 where less is. */
function RateRow({
  title,
  rates,
  better,
  className,
}: {
  title: string;
  rates: Rates;
  better: 1 | -1;
  className?: string;
}) {
  const text = useText(catalogue);
  return (
    <tr className={className}>
      <th scope="row">{title}</th>
      {rates.map((told, n) => {
        const before = rates.slice(0, n).findLast((one) => one);
        // biome-ignore lint/suspicious/noArrayIndexKey: a column is its place
        if (!told) return <Later key={n} />;
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: a column is its place
          <td key={n} title={`n=${told.n.toLocaleString()}`}>
            <i className="maybe" style={{ width: `${100 * Math.min(1, told.high)}%` }} />
            <i className="sure" style={{ width: `${100 * Math.max(0, told.low)}%` }} />
            <b>{rate(told.value)}</b>
            <small>
              {rate(told.low)}–{rate(told.high)}
            </small>
            {before && isWorse(before, told, better) && (
              <span className="worse" role="img" aria-label={text.worse}>
                {better > 0 ? "▼" : "▲"}
              </span>
            )}
          </td>
        );
      })}
    </tr>
  );
}

/** Whether the difference's 95 % interval (Newcombe) lies wholly on the bad side of zero. */
function isWorse(before: Interval, after: Interval, better: 1 | -1): boolean {
  const change = better * (after.value - before.value);
  const [mine, other] =
    better > 0
      ? [after.high - after.value, before.value - before.low]
      : [after.value - after.low, before.high - before.value];
  return change + Math.hypot(mine, other) < 0;
}

function GoldCell({ gold }: { gold: Interval | undefined }) {
  if (!gold) return <Later />;
  return (
    <td className="wide">
      <b>{plain(gold.value)}</b>
      <small>
        {plain(gold.low)} … {plain(gold.high)}
      </small>
    </td>
  );
}

function FigureCell({
  value,
  error,
  digits,
}: {
  value: number | undefined;
  error: number | undefined;
  digits: number;
}) {
  if (value === undefined) return <Later />;
  return (
    <td>
      <b>{plain(value, digits)}</b>
      {error !== undefined && <small>± {plain(1.96 * error, digits)}</small>}
    </td>
  );
}

function Later() {
  const text = useText(catalogue);
  return (
    <td className="later">
      <span aria-hidden="true">·</span>
      <span className="hidden">{text.later}</span>
    </td>
  );
}
