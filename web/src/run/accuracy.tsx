// The reward models' accuracy, over all and by behaviour: one row each, the newest round strongest.

import type { Agreement, Interval } from "../api.gen";
import { useText } from "../shared/i18n";
import { rate, spoken, titleOf } from "../shared/words";
import { Dot, Label, Line, Picture, type Point, type Scale, scale, ticks } from "./draw";
import { text as catalogue } from "./text";

const [TOP, ROW] = [8, 18];

type Told = readonly [stage: string, found: Interval];

export function AccuracyPlot({ agreements }: { agreements: readonly Agreement[] }) {
  const text = useText(catalogue);
  const rows = ["", ...new Set(agreements.flatMap(({ by_source }) => Object.keys(by_source).sort()))];
  const bottom = TOP + rows.length * ROW;
  const domain = domainOf(agreements);
  const said = agreements.map(({ stage, overall }) => `${titleOf(stage)} ${rate(overall.value)} %`);
  return (
    <Picture height={bottom + 20} label={text.accuracySaid(said.join(", "))}>
      {(width) => {
        const ends: Point = [Math.min(132, width * 0.36), width - 42];
        const x = scale(domain, ends);
        return (
          <>
            {ticks(domain, 5).map((value) => (
              <g key={value}>
                <Line from={[x(value), TOP]} to={[x(value), bottom]} className={value === 0.5 ? "rule zero" : "rule"} />
                <Label at={[x(value), bottom + 14]}>{rate(value)}</Label>
              </g>
            ))}
            {rows.map((name, n) => (
              <Row key={name} name={name} told={toldOf(agreements, name)} x={x} y={TOP + (n + 0.5) * ROW} ends={ends} />
            ))}
          </>
        );
      }}
    </Picture>
  );
}

function Row({ name, told, x, y, ends }: { name: string; told: readonly Told[]; x: Scale; y: number; ends: Point }) {
  const text = useText(catalogue);
  const title = name ? spoken(name) : text.all;
  const last = told.at(-1);
  return (
    <>
      <Label at={[ends[0] - 10, y + 4]} anchor="end" className={name ? "name" : "name strong"}>
        {title}
      </Label>
      {told.map((one, n) => (
        <Mark
          key={one[0]}
          told={one}
          title={title}
          x={x}
          y={y}
          isNew={n === told.length - 1}
          isAlone={told.length === 1}
        />
      ))}
      {last && (
        <Label at={[ends[1] + 10, y + 4]} anchor="start" className={name ? "value" : "value strong"}>
          {rate(last[1].value)}
        </Label>
      )}
    </>
  );
}

function Mark(props: { told: Told; title: string; x: Scale; y: number; isNew: boolean; isAlone: boolean }) {
  const text = useText(catalogue);
  const { told, title, x, isNew } = props;
  const [stage, { value, low, high, n }] = told;
  const y = props.isAlone ? props.y : props.y + (isNew ? 3 : -3);
  const age = isNew ? "new" : "old";
  return (
    <>
      <Line from={[x(low), y]} to={[x(high), y]} className={`whisker ${age}`} />
      <Dot at={[x(value), y]} radius={isNew ? 4 : 3} className={`mark ${age}`}>
        {`${title}, ${titleOf(stage)}: ${rate(value)} % (${text.interval(rate(low), rate(high), String(n))})`}
      </Dot>
    </>
  );
}

function toldOf(agreements: readonly Agreement[], name: string): readonly Told[] {
  return agreements.flatMap(({ stage, overall, by_source }) => {
    const found = name ? by_source[name] : overall;
    return found ? [[stage, found] as const] : [];
  });
}

function domainOf(agreements: readonly Agreement[]): Point {
  const lows = agreements.flatMap(({ overall, by_source }) =>
    [overall, ...Object.values(by_source)].map(({ low }) => low),
  );
  return [Math.max(0, Math.floor(Math.min(0.5, ...lows) * 10) / 10), 1];
}
