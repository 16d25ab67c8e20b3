// Before the first question: what comparing is, and what was compared before.

import { useText } from "../shared/i18n";
import { Link } from "../shared/router";
import { moment } from "../shared/words";
import { useRecent } from "./data";
import { text as catalogue } from "./text";

const FEW = 8;

export function Welcome({ isNew }: { isNew: boolean }) {
  const text = useText(catalogue);
  return (
    <div className="compare-welcome">
      <p>{text.welcomeHint}</p>
      {isNew && <Recent />}
    </div>
  );
}

function Recent() {
  const text = useText(catalogue);
  const { data: recent = [] } = useRecent();
  if (!recent.length) return null;
  return (
    <>
      <h2>{text.recent}</h2>
      <ul>
        {recent.slice(0, FEW).map(({ group, title, updated, columns }) => (
          <li key={group}>
            <Link to={`/compare?group=${encodeURIComponent(group)}`}>{title || text.untitled}</Link>{" "}
            <small className="quietly">
              {text.columns(columns)} · {moment(updated)}
            </small>
          </li>
        ))}
      </ul>
    </>
  );
}
