// Which screen stands at which address.

import { lazy, type ReactNode, Suspense } from "react";
import { useDocumentLanguage, useText } from "./shared/i18n";
import { useHasReleases } from "./shared/releases";
import { usePlace } from "./shared/router";
import { Shell } from "./shared/shell";
import { text as catalogue } from "./shared/text";

const Chat = lazy(() => import("./chat/screen"));
const Compare = lazy(() => import("./compare/screen"));
const Releases = lazy(() => import("./releases/screen"));
const Run = lazy(() => import("./run/screen"));
const Settings = lazy(() => import("./settings/screen"));
const Shared = lazy(() => import("./share/screen"));

/** The application. What somebody shared is shown without the shell: strangers see it. */
export function App() {
  useDocumentLanguage();
  const { path } = usePlace();
  const token = /^\/s\/([^/]+)$/.exec(path)?.[1];
  if (token) return waited(<Shared token={token} />);
  return <Shell>{waited(<Screen path={path} />)}</Shell>;
}

function Screen({ path }: { path: string }) {
  const conversation = /^\/c\/([^/]+)$/.exec(path)?.[1];
  if (conversation) return <Chat key="chat" conversation={conversation} />;
  switch (path) {
    case "/":
      return <Home />;
    case "/run":
      return <Run />;
    case "/releases":
      return <Releases />;
    case "/compare":
      return <Compare />;
    case "/settings":
      return <Settings />;
    default:
      return <Nowhere />;
  }
}

/** Somebody to talk to; until then, how the first one is made. */
function Home() {
  const has = useHasReleases();
  if (has === null) return null;
  return has ? <Chat key="chat" conversation={null} /> : <Run />;
}

function Nowhere() {
  const text = useText(catalogue);
  return (
    <div className="page">
      <h1 tabIndex={-1}>{text.nowhere}</h1>
      <p className="quietly">{text.nowhereHint}</p>
    </div>
  );
}

function waited(screen: ReactNode) {
  return <Suspense fallback={null}>{screen}</Suspense>;
}
