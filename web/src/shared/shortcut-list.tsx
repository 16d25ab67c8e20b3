// The list of keys that work on this screen (key ?), and the switch for those that are single characters.

import { useState } from "react";
import { Dialog } from "./dialog";
import { useText } from "./i18n";
import { keysInWords, setSingleKeys, singleKeys, useShortcut, useShortcuts } from "./shortcuts";
import { useStore } from "./store";
import { text as catalogue } from "./text";

export function ShortcutList() {
  const text = useText(catalogue);
  const [open, setOpen] = useState(false);
  useShortcut({ keys: "?", label: text.shortcuts, run: () => setOpen(true) });
  return (
    <Dialog open={open} onClose={() => setOpen(false)} title={text.shortcuts}>
      <p className="quietly">{text.shortcutsHint}</p>
      <Keys />
      <Switch />
      <p className="actions">
        <button type="button" className="primary" onClick={() => setOpen(false)}>
          {text.close}
        </button>
      </p>
    </Dialog>
  );
}

function Keys() {
  const shortcuts = useShortcuts();
  return (
    <dl className="keys">
      {shortcuts.map(({ keys, label }) => (
        <div key={keys}>
          <dt>
            {keysInWords(keys).map((key) => (
              <kbd key={key}>{key}</kbd>
            ))}
          </dt>
          <dd>{label}</dd>
        </div>
      ))}
    </dl>
  );
}

function Switch() {
  const text = useText(catalogue);
  const on = useStore(singleKeys);
  return (
    <label className="check">
      <input type="checkbox" checked={on} onChange={(event) => setSingleKeys(event.target.checked)} /> {text.singleKeys}
    </label>
  );
}
