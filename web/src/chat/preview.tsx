// What a newcomer is told before the first answer; kept on the account once it was read.

import { useState } from "react";
import { Problem } from "../shared/api";
import { focusComposer } from "../shared/composer";
import { useText } from "../shared/i18n";
import { useChangeMe, useMe } from "../shared/me";
import { text as catalogue } from "./text";

export function Preview() {
  const text = useText(catalogue);
  const me = useMe();
  const changeMe = useChangeMe();
  const [problem, setProblem] = useState("");
  if (!me) return null;
  if (me.preview_seen) return <p className="quietly">{text.beginningHint}</p>;
  const read = async () => {
    focusComposer();
    try {
      await changeMe({ preview_seen: true });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    }
  };
  return (
    <section className="preview" aria-labelledby="preview-title">
      <h2 id="preview-title">{text.previewTitle}</h2>
      <p>{text.previewIs}</p>
      <ul>
        {text.previewLimits.map((limit) => (
          <li key={limit}>{limit}</li>
        ))}
      </ul>
      <p>{text.previewAsk}</p>
      {problem && <p role="alert">{problem}</p>}
      <button type="button" className="plain-button" onClick={read}>
        {text.previewRead}
      </button>
    </section>
  );
}
