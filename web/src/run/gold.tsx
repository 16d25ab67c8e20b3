// Gold reward by policy: sampled and greedy, with whiskers.

import type { Decoding, Evaluation, Interval } from "../api.gen";
import { useText } from "../shared/i18n";
import { plain, titleOf } from "../shared/words";
import { Dot, extent, Label, Line, Path, Picture, type Point, Rules, type Scale, scale, ticks } from "./draw";
import { text as catalogue } from "./text";

const SERVED = "T=0.7";
const [TOP, BOTTOM, LEFT] = [18, 260, 34];

type Series = "sampled" | "greedy";
type Mark = { stage: string; gold: Interval; series: Series };

/** `policies` also names those that are not measured yet. */
export function GoldPlot({
  policies,
  evaluations,
}: {
  policies: readonly string[];
  evaluations: readonly Evaluation[];
}) {
  const text = useText(catalogue);
  const marks = evaluations.flatMap(marksOf);
  const domain = extent([...marks.flatMap(({ gold }) => [gold.low, gold.high]), 0, 1], 0.04);
  const y = scale(domain, [BOTTOM, TOP]);
  const words = { sampled: text.sampled, greedy: text.greedy };
  const said = marks.map(({ stage, series, gold }) => `${titleOf(stage)} ${words[series]} ${plain(gold.value)}`);
  return (
    <Picture height={BOTTOM + 30} label={text.goldSaid(said.join(", "))}>
      {(width) => {
        const step = (width - 14 - LEFT) / policies.length;
        const x = (stage: string) => LEFT + step * (policies.indexOf(stage) + 0.5);
        return (
          <>
            <Rules values={ticks(domain, 5)} y={y} left={LEFT} right={width - 14} />
            {policies.map((stage) => (
              <Label
                key={stage}
                at={[x(stage), BOTTOM + 20]}
                className={marks.some((one) => one.stage === stage) ? "name" : "name later"}
              >
                {titleOf(stage)}
              </Label>
            ))}
            <Trend series="greedy" marks={marks} x={x} y={y} />
            <Trend series="sampled" marks={marks} x={x} y={y} />
          </>
        );
      }}
    </Picture>
  );
}

function Trend({
  series,
  marks,
  x,
  y,
}: {
  series: Series;
  marks: readonly Mark[];
  x: (stage: string) => number;
  y: Scale;
}) {
  const mine = marks.filter((one) => one.series === series);
  const shift = series === "greedy" ? 6 : -6;
  const place = ({ stage, gold }: Mark): Point => [x(stage) + shift, y(gold.value)];
  return (
    <>
      <Path points={mine.map(place)} className={`trend ${series}`} />
      {mine.map((mark) => (
        <Whisker key={mark.stage} mark={mark} at={place(mark)} y={y} />
      ))}
    </>
  );
}

function Whisker({ mark: { stage, gold, series }, at: [x, y0], y }: { mark: Mark; at: Point; y: Scale }) {
  const text = useText(catalogue);
  const interval = text.interval(plain(gold.low), plain(gold.high), String(gold.n));
  return (
    <>
      <Line from={[x, y(gold.low)]} to={[x, y(gold.high)]} className={`whisker ${series}`} />
      {[gold.low, gold.high].map((value) => (
        <Line key={value} from={[x - 4, y(value)]} to={[x + 4, y(value)]} className={`whisker ${series}`} />
      ))}
      <Dot at={[x, y0]} radius={3.5} className={`mark ${series}`}>
        {`${titleOf(stage)}, ${series === "greedy" ? text.greedy : text.sampled}: ${plain(gold.value)} (${interval})`}
      </Dot>
      {series === "sampled" && (
        <Label at={[x + 7, y0 + 17]} anchor="start" className="value">
          {plain(gold.value)}
        </Label>
      )}
    </>
  );
}

function marksOf({ stage, decodings }: Evaluation): readonly Mark[] {
  return decodings.flatMap(({ name, gold }) => {
    const series = seriesOf(name, decodings);
    return series ? [{ stage, gold, series }] : [];
  });
}

/** What is served is `sampled`; where the run does not measure that, its first decoding. */
function seriesOf(name: string, decodings: readonly Decoding[]): Series | null {
  if (name === "greedy") return "greedy";
  const served = decodings.some((one) => one.name === SERVED) ? SERVED : decodings[0]?.name;
  return name === served ? "sampled" : null;
}
