// Where the numbers of the run come from: every finished stage's directory and digest.

import type { Source } from "../api.gen";
import { useText } from "../shared/i18n";
import { duration, moment, titleOf } from "../shared/words";
import { text as catalogue } from "./text";

export function Sources({ sources }: { sources: readonly Source[] }) {
  const text = useText(catalogue);
  return (
    <details className="sources">
      <summary>{text.sources}</summary>
      {sources.length === 0 ? (
        <p className="empty">{text.nothingFinished}</p>
      ) : (
        <div className="box" tabIndex={0} role="group" aria-label={text.sourcesLabel}>
          <table className="plain">
            <thead>
              <tr>
                {text.sourceHeads.map((head) => (
                  <th key={head} scope="col">
                    {head}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {sources.map(({ stage, directory, digest, seconds, finished }) => (
                <tr key={directory}>
                  <td>{titleOf(stage)}</td>
                  <td>{duration(seconds)}</td>
                  <td>{moment(finished)}</td>
                  <td>{directory}</td>
                  <td>{digest.slice(0, 12)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}
