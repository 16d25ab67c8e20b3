// Drawing with SVG: scales, axes, marks. The numbers in here are pixels unless they are told to be values.

import { type ReactNode, useLayoutEffect, useRef, useState } from "react";

export type Point = readonly [number, number];
export type Scale = (value: number) => number;

/** A picture as wide as there is room, that says in words what it shows. */
export function Picture({
  height,
  label,
  children,
}: {
  height: number;
  label: string;
  children: (width: number) => ReactNode;
}) {
  const holder = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const element = holder.current;
    if (!element) return;
    const measure = () => setWidth(Math.floor(element.clientWidth));
    const sizes = new ResizeObserver(measure);
    sizes.observe(element);
    measure();
    return () => sizes.disconnect();
  }, []);
  return (
    <div className="plot" ref={holder}>
      {width > 0 && (
        <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>
          {children(width)}
        </svg>
      )}
    </div>
  );
}

/** From values to pixels; `log` for positive values over several magnitudes. */
export function scale([low, high]: Point, [from, to]: Point, log = false): Scale {
  const on = log ? Math.log : Number;
  const span = on(high) - on(low) || 1;
  return (value) => from + ((on(value) - on(low)) / span) * (to - from);
}

/** The smallest and largest of the values, and a little room. */
export function extent(values: readonly number[], room = 0.06): Point {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const more = (high - low) * room || Math.abs(high) * 0.1 || 0.5;
  return [low - more, high + more];
}

/** About `count` round values within the domain. */
export function ticks([low, high]: Point, count: number): number[] {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? 10 * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, n) => Number(((first + n) * step).toPrecision(10)));
}

/** 1, 2, 5, 10 … within the domain; powers of ten alone where those would be many. */
export function logTicks([low, high]: Point): number[] {
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const n of [1, 2, 5]) found.push(Number((n * 10 ** power).toPrecision(3)));
  }
  const within = found.filter((value) => value >= low && value <= high);
  return within.length > 4 ? within.filter((value) => Number.isInteger(Math.log10(value))) : within;
}

/** A tick's number, short, with a true minus sign. */
export function tickText(value: number): string {
  const shown = Math.abs(value) >= 10_000 ? `${value / 1000}k` : String(value);
  return shown.replace("-", "−");
}

/** Means over a window that moves along, as points of its mean place. */
export function movingMean(points: readonly Point[], window: number): Point[] {
  const half = Math.floor(window / 2);
  return points.map((_, n) => {
    const near = points.slice(Math.max(0, n - half), n + half + 1);
    const mean = (axis: 0 | 1) => near.reduce((sum, point) => sum + point[axis], 0) / near.length;
    return [mean(0), mean(1)];
  });
}

export function Label(props: { at: Point; children: string; anchor?: "start" | "middle" | "end"; className?: string }) {
  const { at, children, anchor = "middle", className = "tick" } = props;
  return (
    <text x={round(at[0])} y={round(at[1])} textAnchor={anchor} className={className}>
      {children}
    </text>
  );
}

export function Line({ from, to, className }: { from: Point; to: Point; className: string }) {
  return <line x1={round(from[0])} y1={round(from[1])} x2={round(to[0])} y2={round(to[1])} className={className} />;
}

export function Path({ points, className }: { points: readonly Point[]; className: string }) {
  return (
    <path d={points.map(([x, y], n) => `${n ? "L" : "M"}${round(x)} ${round(y)}`).join("")} className={className} />
  );
}

/** A dot, with words for whoever points at it. */
export function Dot(props: { at: Point; radius: number; className: string; children?: string }) {
  const { at, radius, className, children } = props;
  return (
    <circle cx={round(at[0])} cy={round(at[1])} r={radius} className={className}>
      {children && <title>{children}</title>}
    </circle>
  );
}

/** Horizontal rules with their values at the left. */
export function Rules({
  values,
  y,
  left,
  right,
}: {
  values: readonly number[];
  y: Scale;
  left: number;
  right: number;
}) {
  return values.map((value) => (
    <g key={value}>
      <Line from={[left, y(value)]} to={[right, y(value)]} className={value === 0 ? "rule zero" : "rule"} />
      <Label at={[left - 6, y(value) + 3.5]} anchor="end">
        {tickText(value)}
      </Label>
    </g>
  ));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
