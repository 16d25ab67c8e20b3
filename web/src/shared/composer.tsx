// The box at the bottom. What is typed stays on this device until it was sent; what a message does is the screen's affair.

import { type KeyboardEvent, type ReactNode, useEffect, useId, useLayoutEffect, useRef, useState } from "react";
import "./composer.css";
import { useText } from "./i18n";
import { useShortcut } from "./shortcuts";
import { keep, kept } from "./store";
import { text as catalogue } from "./text";

const BOX = "composer-box";

/** The cursor into the box. */
export function focusComposer(): void {
  document.getElementById(BOX)?.focus();
}

type Props = {
  label: string;
  placeholder: string;
  /** A reply is being written: Send is Stop. */
  busy: boolean;
  disabled?: boolean;
  /** Under which name the text is kept. */
  draft: string;
  /** False: it could not be sent, the text stays. */
  onSend: (text: string) => Promise<boolean>;
  onStop: () => void;
  /** Shown above the box. */
  problem?: ReactNode;
  /** The cursor goes into the box whenever this changes. */
  focusOn?: unknown;
  /** Controls beside the button. */
  children?: ReactNode;
};

export function Composer(props: Props) {
  const { label, placeholder, busy, disabled = false, onSend, onStop, problem, focusOn, children } = props;
  const text = useText(catalogue);
  const hint = useId();
  const draft = useDraft(props.draft);
  const { value } = draft;
  const [sending, setSending] = useState(false);
  const box = useGrowing(value);
  const canSend = !disabled && !busy && !sending && value.trim() !== "";
  const send = async () => {
    if (!canSend) return;
    setSending(true);
    const message = draft.take();
    const isSent = await onSend(message.trim()).catch(() => false);
    draft.settle(isSent);
    setSending(false);
    focusComposer();
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: `focusOn` is the caller's way to say when
  useEffect(() => {
    if (!disabled) box.current?.focus();
  }, [disabled, focusOn]);
  useShortcut({ keys: "Escape", label: text.stop, always: true, when: busy, run: onStop });
  useShortcut({ keys: "Enter", label: text.send, listed: true, run: send });
  useShortcut({ keys: "shift+Enter", label: text.newLine, listed: true, run: send });
  const typed = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    void send();
  };
  return (
    <div className="dock">
      <div className="column">
        {problem && (
          <div className="notice bad" role="alert">
            {problem}
          </div>
        )}
        <form
          className="composer"
          onSubmit={(event) => {
            event.preventDefault();
            void send();
          }}
        >
          <label className="hidden" htmlFor={BOX}>
            {label}
          </label>
          <textarea
            id={BOX}
            ref={box}
            rows={1}
            placeholder={placeholder}
            autoComplete="off"
            aria-describedby={hint}
            disabled={disabled}
            value={value}
            onChange={(event) => draft.type(event.target.value)}
            onKeyDown={typed}
          />
          <div className="composer-row">
            {children}
            {busy ? (
              <button type="button" className="primary stop" onClick={onStop}>
                {text.stop}
              </button>
            ) : (
              <button type="submit" className="primary" disabled={!canSend}>
                {text.send}
              </button>
            )}
          </div>
        </form>
        <p className="hint" id={hint}>
          {text.boxHint}
        </p>
      </div>
    </div>
  );
}

/** The text under `name`, which outlives the page; another name, another text. What is on its way is kept, too,
 * until it is known to have arrived: it comes back before what was typed since. */
function useDraft(name: string) {
  const key = `draft.${name}`;
  const [state, setState] = useState(() => opened(key));
  const now = state.key === key ? state : opened(key);
  if (now !== state) setState(now);
  const latest = useRef(now);
  latest.current = now;
  const change = (next: Draft) => {
    keep(next.key, joined(next) || null);
    latest.current = next;
    setState((shown) => (shown.key === next.key ? next : shown));
  };
  const sent = useRef<Draft>(now);
  return {
    value: now.value,
    type: (value: string) => change({ ...latest.current, value }),
    take: () => {
      sent.current = { key, value: "", onItsWay: now.value };
      change(sent.current);
      return now.value;
    },
    settle: (isSent: boolean) => {
      if (latest.current.key === sent.current.key) {
        const { value } = latest.current;
        change({ key: sent.current.key, onItsWay: "", value: isSent ? value : joined(latest.current) });
      } else if (isSent) keep(sent.current.key, null); // the screen has gone on to another draft
    },
  };
}

type Draft = { key: string; value: string; onItsWay: string };

function opened(key: string): Draft {
  return { key, value: kept(key) ?? "", onItsWay: "" };
}

function joined({ onItsWay, value }: Draft): string {
  return [onItsWay, value].filter(Boolean).join("\n");
}

/** A box as tall as its text. */
function useGrowing(value: string) {
  const box = useRef<HTMLTextAreaElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the text decides the height
  useLayoutEffect(() => {
    if (!box.current) return;
    box.current.style.height = "auto";
    box.current.style.height = `${box.current.scrollHeight}px`;
  }, [value]);
  return box;
}
