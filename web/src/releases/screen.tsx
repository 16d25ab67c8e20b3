// The releases: where each stands, what it is made of, who answers; promoting and rolling back.

import { useState } from "react";
import type { Release } from "../api.gen";
import { useText } from "../shared/i18n";
import { useIsOwner } from "../shared/me";
import { useReleases } from "../shared/releases";
import { Link, useTitle } from "../shared/router";
import { moment } from "../shared/words";
import { Deciding, type Decision } from "./deciding";
import { Details } from "./details";
import "./releases.css";
import { text as catalogue } from "./text";

export default function Releases() {
  const text = useText(catalogue);
  useTitle(text.title);
  const { data: releases } = useReleases();
  const isOwner = useIsOwner();
  const [decision, setDecision] = useState<Decision | null>(null);
  if (!releases) return null;
  return (
    <div className="page releases-page">
      <h1 tabIndex={-1}>{text.title}</h1>
      <p className="lead">{text.lead}</p>
      {releases.length === 0 ? (
        <p className="notice">
          {text.none} <Link to="/run">{text.toRun}</Link>
        </p>
      ) : (
        <ul className="release-list">
          {releases.toReversed().map((release) => (
            <Row key={release.name} release={release} decide={isOwner ? setDecision : null} />
          ))}
        </ul>
      )}
      {!isOwner && releases.length > 0 && <p className="lead">{text.onlyOwner}</p>}
      <Deciding decision={decision} close={() => setDecision(null)} />
    </div>
  );
}

function Row({ release, decide }: { release: Release; decide: ((decision: Decision) => void) | null }) {
  const text = useText(catalogue);
  const [open, setOpen] = useState(false);
  const { label, name, state } = release;
  return (
    <li className="release">
      <div className="release-head">
        <h2>{label}</h2>
        <span className={`state ${state}`}>{text.states[state]}</span>
        {release.share !== null && (
          <span className="quietly">{text.share(String(Math.round(100 * release.share)))}</span>
        )}
        {release.is_default && <span className="default">{text.answers}</span>}
      </div>
      <p className="quietly">
        {label !== name && `${name} · `}
        {moment(release.created)}
      </p>
      <div className="release-actions">
        <Link to={`/?release=${encodeURIComponent(name)}`}>{text.talk}</Link>
        {release.card && (
          <a href={release.card} target="_blank" rel="noopener" aria-label={text.cardOf(label)}>
            {text.card}
          </a>
        )}
        <button
          type="button"
          className="link"
          aria-expanded={open}
          aria-label={text.detailsOf(label)}
          onClick={() => setOpen(!open)}
        >
          {text.details}
        </button>
        {decide && <Decisions release={release} decide={decide} />}
      </div>
      {open && <Details name={name} />}
    </li>
  );
}

function Decisions({ release, decide }: { release: Release; decide: (decision: Decision) => void }) {
  const text = useText(catalogue);
  const canRollBack = release.state === "live" || release.state === "canary" || release.state === "shadow";
  return (
    <span className="decisions">
      <button
        type="button"
        className="plain-button"
        aria-haspopup="dialog"
        aria-label={text.promoteOf(release.label)}
        onClick={() => decide({ kind: "promote", release })}
      >
        {text.promote}
      </button>
      {canRollBack && (
        <button
          type="button"
          className="plain-button bad"
          aria-haspopup="dialog"
          aria-label={text.rollbackOf(release.label)}
          onClick={() => decide({ kind: "rollback", release })}
        >
          {text.rollback}
        </button>
      )}
    </span>
  );
}
