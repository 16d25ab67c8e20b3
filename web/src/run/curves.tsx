// What training did, step by step: proxy and gold over KL, and losses.

import type { Curve } from "../api.gen";
import { useText } from "../shared/i18n";
import { plain, titleOf } from "../shared/words";
import {
  Dot,
  extent,
  Label,
  logTicks,
  movingMean,
  Path,
  Picture,
  type Point,
  Rules,
  type Scale,
  scale,
  ticks,
  tickText,
} from "./draw";
import { text as catalogue } from "./text";

const PANEL = 128;
const PANELS = [
  ["score", "proxy"],
  ["gold", "gold"],
] as const;
type Series = (typeof PANELS)[number][1];

/** Proxy above, gold below, over the same KL. */
export function CloudPlot({ curve }: { curve: Curve }) {
  const text = useText(catalogue);
  const kl = known(curve, "kl_nats");
  const [low, high] = extent(kl, 0.04);
  const domain: Point = [Math.max(0, low), Math.max(0, high)];
  const panels = PANELS.map(([name, series]) => [series, pointsOf(curve, "kl_nats", name)] as const).filter(
    ([, points]) => points.length > 0,
  );
  const bottom = panels.length * PANEL - 8;
  const ends = (name: string) => {
    const values = known(curve, name);
    const [first, last] = [values[0], values.at(-1)];
    return first === undefined || last === undefined ? text.notMeasured : text.fromTo(plain(first), plain(last));
  };
  return (
    <Picture
      height={bottom + 42}
      label={text.cloudSaid(titleOf(curve.stage), ends("score"), ends("gold"), ends("kl_nats"))}
    >
      {(width) => {
        const across: Point = [38, width - 46];
        const x = scale(domain, across);
        return (
          <>
            {panels.map(([series, points], n) => (
              <Panel
                key={series}
                {...{ series, points, x, across }}
                top={n * PANEL + 22}
                bottom={(n + 1) * PANEL - 8}
              />
            ))}
            {ticks(domain, width / 90).map((value) => (
              <Label key={value} at={[x(value), bottom + 18]}>
                {tickText(value)}
              </Label>
            ))}
            <Label at={[(across[0] + across[1]) / 2, bottom + 36]}>{text.klAxis}</Label>
          </>
        );
      }}
    </Picture>
  );
}

function Panel(props: {
  series: Series;
  points: readonly Point[];
  x: Scale;
  across: Point;
  top: number;
  bottom: number;
}) {
  const text = useText(catalogue);
  const { series, points, x, top, bottom } = props;
  const [left, right] = props.across;
  const domain = extent(points.map((point) => point[1]));
  const y = scale(domain, [bottom, top]);
  const means = movingMean(points, Math.max(5, Math.floor(points.length / 6)));
  const places = means.map(([at, value]): Point => [x(at), y(value)]);
  const [first, last, value] = [places[0], places.at(-1), means.at(-1)?.[1]];
  return (
    <>
      <Label at={[left, top - 8]} anchor="start" className={`series ${series}`}>
        {series === "proxy" ? text.proxySeries : text.goldSeries}
      </Label>
      <Rules values={ticks(domain, 3)} y={y} left={left} right={right} />
      {points.map((point, n) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a step has no other name
        <Dot key={n} at={[x(point[0]), y(point[1])]} radius={2.2} className={`speck ${series}`} />
      ))}
      <Path points={places} className={`trend ${series}`} />
      {first && <Dot at={first} radius={3} className={`start ${series}`} />}
      {last && <Dot at={last} radius={4} className={`mark ${series}`} />}
      {last && value !== undefined && (
        <Label at={[right + 8, last[1] + 4]} anchor="start" className={`value ${series}`}>
          {plain(value)}
        </Label>
      )}
    </>
  );
}

/** One figure over a stage's steps. */
export function LossPlot({ curve, name }: { curve: Curve; name: string }) {
  const text = useText(catalogue);
  const points = pointsOf(curve, "step", name);
  const means = movingMean(points, Math.max(3, Math.floor(points.length / 12)));
  const [first, last, mean] = [points[0], points.at(-1), means.at(-1)];
  if (!first || !last || !mean) return null;
  const values = points.map((point) => point[1]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const log = low > 0 && high / low > 4;
  const domain: Point = log ? [low * 0.92, high * 1.08] : extent(values);
  const [left, top, bottom] = [36, 8, 118];
  const y = scale(domain, [bottom, top], log);
  const steps = last[0].toLocaleString();
  return (
    <Picture height={bottom + 22} label={text.lossSaid(titleOf(curve.stage), plain(first[1]), plain(mean[1]), steps)}>
      {(width) => {
        const right = width - 40;
        const x = scale([first[0], last[0]], [left, right]);
        const placed = (all: readonly Point[]) => all.map(([step, value]): Point => [x(step), y(value)]);
        return (
          <>
            <Rules values={log ? logTicks(domain) : ticks(domain, 3)} y={y} left={left} right={right} />
            <Path points={placed(points)} className="trend raw" />
            <Path points={placed(means)} className="trend loss" />
            <Dot at={[x(last[0]), y(mean[1])]} radius={3.5} className="mark loss" />
            <Label at={[right + 7, y(mean[1]) + 4]} anchor="start" className="value">
              {plain(mean[1])}
            </Label>
            <Label at={[left, bottom + 18]} anchor="start">
              {tickText(first[0])}
            </Label>
            <Label at={[right, bottom + 18]} anchor="end">
              {text.steps(steps)}
            </Label>
            {log && <title>{text.logScale}</title>}
          </>
        );
      }}
    </Picture>
  );
}

function known(curve: Curve, name: string): readonly number[] {
  return (curve.columns[name] ?? []).filter((value) => value !== null);
}

/** One column against another, where both were written. */
function pointsOf(curve: Curve, across: string, up: string): readonly Point[] {
  const [xs, ys] = [curve.columns[across] ?? [], curve.columns[up] ?? []];
  return xs.flatMap((x, n) => {
    const y = ys[n];
    return x === null || y === null || y === undefined ? [] : [[x, y] as const];
  });
}
