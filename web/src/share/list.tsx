// Links that were shared: to copy, and to revoke.

import type { Share } from "../api.gen";
import { useText } from "../shared/i18n";
import { CopyButton } from "../shared/markdown";
import { moment } from "../shared/words";
import { addressOf, useRevoke } from "./data";
import "./share.css";
import { text as catalogue } from "./text";

export function ShareList({ shares, titled }: { shares: readonly Share[]; titled: boolean }) {
  const text = useText(catalogue);
  const { revoke, problem } = useRevoke();
  return (
    <>
      {problem && (
        <p className="notice bad" role="alert">
          {problem}
        </p>
      )}
      <ul className="shares">
        {shares.map((share) => (
          <li key={share.id}>
            <ShareText share={share} titled={titled} />
            {isLive(share) && (
              <span className="share-actions">
                <CopyButton text={addressOf(share)} />
                <button type="button" className="quiet" onClick={() => revoke(share)}>
                  {text.revoke}
                </button>
              </span>
            )}
          </li>
        ))}
      </ul>
    </>
  );
}

function ShareText({ share, titled }: { share: Share; titled: boolean }) {
  const text = useText(catalogue);
  const address = addressOf(share);
  return (
    <div className="share-text">
      {titled && <strong>{share.title || text.untitled}</strong>}
      {isLive(share) ? (
        <a href={address} target="_blank" rel="noopener">
          {address}
        </a>
      ) : (
        <span className="quietly">{address}</span>
      )}
      <span className="quietly small">
        {text.madeAt(moment(share.created))} · <Standing share={share} />
      </span>
    </div>
  );
}

function Standing({ share: { revoked, expires } }: { share: Share }) {
  const text = useText(catalogue);
  if (revoked !== null) return text.revokedAt(moment(revoked));
  if (expires === null) return text.lastsForever;
  return isPast(expires) ? text.expiredAt(moment(expires)) : text.lastsUntil(moment(expires));
}

/** Whether the link still leads somewhere. */
export function isLive({ revoked, expires }: Share): boolean {
  return revoked === null && (expires === null || !isPast(expires));
}

function isPast(seconds: number): boolean {
  return 1000 * seconds <= Date.now();
}
