// What somebody shared, for whoever has the link: read-only, and without the rest of the application.

import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import type { SharedConversation, SharedMessage } from "../api.gen";
import { call, Problem } from "../shared/api";
import { useText } from "../shared/i18n";
import { CopyButton, Markdown } from "../shared/markdown";
import { useTitle } from "../shared/router";
import { moment } from "../shared/words";
import "./share.css";
import { text as catalogue } from "./text";

export default function Shared({ token }: { token: string }) {
  const text = useText(catalogue);
  const { data, error } = useQuery({
    queryKey: ["shared", token],
    queryFn: ({ signal }) => call("GET /api/shared/{token}", { path: { token }, signal }),
    staleTime: Number.POSITIVE_INFINITY,
  });
  useTitle(data?.title ?? text.sharedTitle);
  useNotIndexed();
  return (
    <div className="shared">
      <header>
        <span className="brand">
          <img src="/assets/mark.svg" alt="" width="20" height="20" /> parley
        </span>
      </header>
      <main>
        {data && <Snapshot shared={data} />}
        {error instanceof Problem && <Gone status={error.status} />}
      </main>
      <footer className="quietly small">{text.sharedFoot}</footer>
    </div>
  );
}

function Snapshot({ shared: { title, created, messages } }: { shared: SharedConversation }) {
  const text = useText(catalogue);
  return (
    <>
      <h1 tabIndex={-1}>{title || text.untitled}</h1>
      <p className="quietly small">{text.sharedAt(moment(created))}</p>
      <ol>
        {messages.map((message, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a snapshot does not change
          <li key={index}>
            <Said message={message} />
          </li>
        ))}
      </ol>
    </>
  );
}

function Said({ message: { role, content, release } }: { message: SharedMessage }) {
  const text = useText(catalogue);
  if (role === "user") {
    return (
      <article className="said">
        <h2 className="hidden">{text.userSaid}</h2>
        <div className="bubble">{content}</div>
      </article>
    );
  }
  return (
    <article className="reply">
      <h2 className="hidden">{text.modelSaid}</h2>
      <Markdown>{content}</Markdown>
      <p className="shared-under">
        <CopyButton text={content} />
        {release && <span className="quietly small">{text.writtenBy(release)}</span>}
      </p>
    </article>
  );
}

function Gone({ status }: { status: number }) {
  const text = useText(catalogue);
  const [title, hint] =
    status === 410
      ? [text.goneTitle, text.goneHint]
      : status === 404
        ? [text.noneTitle, text.noneHint]
        : ["", text.away];
  return (
    <>
      <h1 tabIndex={-1}>{title || text.sharedTitle}</h1>
      <p className="quietly">{hint}</p>
    </>
  );
}

/** Search engines that run scripts are told as well; the server's header tells the others. */
function useNotIndexed() {
  useEffect(() => {
    const meta = document.createElement("meta");
    meta.name = "robots";
    meta.content = "noindex, nofollow";
    document.head.append(meta);
    return () => meta.remove();
  }, []);
}
