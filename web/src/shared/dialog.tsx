// A modal dialog, the browser's own: it keeps the focus inside, gives it back, and closes by Escape.

import { type ReactNode, useEffect, useId, useLayoutEffect, useRef } from "react";

export function Dialog({
  open,
  onClose,
  title,
  className = "",
  children,
}: {
  open: boolean;
  onClose: () => void;
  title: string;
  className?: string;
  children: ReactNode;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const element = dialog.current;
    if (!element || element.open === open) return;
    if (open) element.showModal();
    else element.close();
  }, [open]);
  useLayoutEffect(() => {
    const element = dialog.current;
    return () => element?.close(); // one that goes away while it is open gives the focus back too
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the keyboard's way is Escape, which the browser knows
    <dialog
      ref={dialog}
      className={`dialog ${className}`}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault(); // closed by the state, or a key pressed at once would find it open still
        onClose();
      }}
      onClose={() => {
        if (dialog.current?.open === false) onClose(); // the event comes late: it may be open again, or gone
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose(); // beside it
      }}
    >
      {open && (
        <div className="dialog-body">
          <h2 id={heading}>{title}</h2>
          {children}
        </div>
      )}
    </dialog>
  );
}
