// The frame around every screen: the sidebar (a drawer where it is narrow), the strip for bad news, the content.

import { type ReactNode, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { Sidebar } from "../chat/sidebar";
import { RunGlance } from "../run/glance";
import { Announcer } from "./announce";
import { connection } from "./api";
import { Dialog } from "./dialog";
import { useText } from "./i18n";
import { usePersonsLanguage } from "./me";
import { go, Link, usePlace } from "./router";
import { ShortcutList } from "./shortcut-list";
import { useShortcut } from "./shortcuts";
import { useStore } from "./store";
import { text as catalogue } from "./text";

const ARRIVAL_MS = 50;
const ARRIVAL_LOOKS = 20;
const narrow = window.matchMedia("(max-width: 52rem)");

export function Shell({ children }: { children: ReactNode }) {
  const text = useText(catalogue);
  const isNarrow = useSyncExternalStore(onWidth, () => narrow.matches);
  const main = useRef<HTMLElement>(null);
  useFocusOnArrival(main);
  usePersonsLanguage();
  useShortcut({ keys: "n", label: text.newChat, run: () => go("/") });
  useShortcut({ keys: "c", label: text.compare, run: () => go("/compare") });
  return (
    <div className={isNarrow ? "shell narrow" : "shell"}>
      <a className="skip" href="#main">
        {text.skip}
      </a>
      {isNarrow ? (
        <TopBar />
      ) : (
        <aside className="sidebar">
          <Brand />
          <Sidebar />
          <Pages />
        </aside>
      )}
      <div className="content">
        <Strip />
        <main id="main" tabIndex={-1} ref={main}>
          {children}
        </main>
      </div>
      <ShortcutList />
      <Announcer label={text.spoken} />
    </div>
  );
}

function TopBar() {
  const text = useText(catalogue);
  const [open, setOpen] = useState(false);
  const place = usePlace();
  // biome-ignore lint/correctness/useExhaustiveDependencies: whoever goes elsewhere is done with the menu
  useEffect(() => setOpen(false), [place]);
  return (
    <header className="topbar">
      <button type="button" className="quiet" aria-haspopup="dialog" onClick={() => setOpen(true)}>
        <span aria-hidden="true">☰</span> {text.menu}
      </button>
      <Brand />
      <Dialog open={open} onClose={() => setOpen(false)} title={text.menu} className="drawer">
        <button type="button" className="quiet drawer-close" onClick={() => setOpen(false)}>
          {text.close}
        </button>
        <Sidebar />
        <Pages />
      </Dialog>
    </header>
  );
}

function Brand() {
  const text = useText(catalogue);
  return (
    <Link to="/" className="brand">
      <img src="/assets/mark.svg" alt="" width="20" height="20" /> {text.appTitle}
    </Link>
  );
}

function Pages() {
  const text = useText(catalogue);
  return (
    <nav className="pages" aria-label={text.navigation}>
      <Link to="/compare">{text.compare}</Link>
      <Link to="/run">
        {text.run} <RunGlance />
      </Link>
      <Link to="/releases">{text.releases}</Link>
      <Link to="/settings">{text.settings}</Link>
    </nav>
  );
}

/** What stands between the person and the server, if anything does. */
function Strip() {
  const text = useText(catalogue);
  const now = useStore(connection);
  const said = { ok: "", gone: text.gone, "signed-out": text.signedOut }[now];
  return (
    <p className="strip" role="status" hidden={!said}>
      {said}
    </p>
  );
}

/** After going elsewhere the focus is at the new screen's heading, unless the screen took it. */
function useFocusOnArrival(main: React.RefObject<HTMLElement | null>) {
  const { path } = usePlace();
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return;
    before.current = path;
    const left = document.activeElement;
    let looks = 0;
    const timer = setInterval(() => {
      const focused = document.activeElement;
      const isInside = focused !== main.current && main.current?.contains(focused) && focused?.checkVisibility();
      const isTaken = isInside || (focused !== left && focused !== document.body && !main.current?.contains(focused));
      const heading = main.current?.querySelector<HTMLElement>("h1");
      looks += 1;
      if (!isTaken && !heading?.checkVisibility() && looks < ARRIVAL_LOOKS) return; // its code is still on the way
      clearInterval(timer);
      if (!isTaken) (heading ?? main.current)?.focus();
    }, ARRIVAL_MS);
    return () => clearInterval(timer);
  }, [path, main]);
}

function onWidth(changed: () => void) {
  narrow.addEventListener("change", changed);
  return () => narrow.removeEventListener("change", changed);
}
