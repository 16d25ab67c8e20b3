// The conversations by day, latest first, loaded as far as somebody scrolls.

import { useQueryClient } from "@tanstack/react-query";
import { memo, useEffect, useMemo, useRef } from "react";
import type { ConversationRow } from "../api.gen";
import { language, useText } from "../shared/i18n";
import { Link } from "../shared/router";
import { loadHistory, useHistory } from "./conversations";
import { text as catalogue } from "./text";

const DAY_MS = 86_400_000;
const BELOW = "0px 0px 400px 0px"; // load what follows before it is reached

export function History() {
  const text = useText(catalogue);
  const { data } = useHistory();
  const groups = useMemo(() => (data ? grouped(data.conversations, text) : []), [data, text]);
  const { scroller, end } = useLoadedBelow(data?.before ?? null);
  if (!data) return <nav className="entries" aria-label={text.history} />;
  return (
    <nav className="entries" aria-label={text.history} ref={scroller}>
      {groups.length === 0 && <p className="quietly small">{text.noHistory}</p>}
      {groups.map(({ name, rows }) => (
        <section key={name} aria-label={name}>
          <h2>{name}</h2>
          <ul>
            {rows.map((row) => (
              <Entry key={row.id} row={row} />
            ))}
          </ul>
        </section>
      ))}
      <div ref={end} />
    </nav>
  );
}

const Entry = memo(function Entry({ row }: { row: ConversationRow }) {
  const text = useText(catalogue);
  return (
    <li>
      <Link to={`/c/${row.id}`} title={row.title}>
        {row.title || text.untitled}
      </Link>
    </li>
  );
});

type Group = { name: string; rows: ConversationRow[] };

/** What was said today, yesterday, within a week, and then by month. A comparison's columns are not listed. */
function grouped(rows: readonly ConversationRow[], text: (typeof catalogue)["en"]): readonly Group[] {
  const groups: Group[] = [];
  const midnight = new Date().setHours(0, 0, 0, 0);
  for (const row of rows) {
    if (row.kind !== "chat") continue;
    const name = dayOf(1000 * row.updated, midnight, text);
    const last = groups.at(-1);
    if (last?.name === name) last.rows.push(row);
    else groups.push({ name, rows: [row] });
  }
  return groups;
}

function dayOf(at: number, midnight: number, text: (typeof catalogue)["en"]): string {
  if (at >= midnight) return text.today;
  if (at >= midnight - DAY_MS) return text.yesterday;
  if (at >= midnight - 7 * DAY_MS) return text.thisWeek;
  return new Date(at).toLocaleDateString(language.get(), { month: "long", year: "numeric" });
}

function useLoadedBelow(before: string | null) {
  const queries = useQueryClient();
  const scroller = useRef<HTMLElement>(null);
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!end.current || !before) return;
    const near = new IntersectionObserver(
      ([seen]) => {
        if (seen?.isIntersecting) void loadHistory(queries).catch(() => undefined); // asked for again when scrolled
      },
      { root: scroller.current, rootMargin: BELOW },
    );
    near.observe(end.current);
    return () => near.disconnect();
  }, [queries, before]);
  return { scroller, end };
}
