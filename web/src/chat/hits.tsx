// What was found, with what was searched for marked. An entry opens the message.

import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import type { Hit } from "../api.gen";
import { announce } from "../shared/announce";
import { call, Problem } from "../shared/api";
import { useText } from "../shared/i18n";
import { Link } from "../shared/router";
import { moment } from "../shared/words";
import { text as catalogue } from "./text";

export function Hits({ words }: { words: string }) {
  const text = useText(catalogue);
  const { data, error, hasNextPage, fetchNextPage, isPlaceholderData } = useFound(words);
  const hits = data?.pages.flatMap((page) => page.hits) ?? [];
  const count = data && !isPlaceholderData ? hits.length : null;
  useEffect(() => {
    if (count !== null) announce(text.found(count, hasNextPage));
  }, [count, hasNextPage, text]);
  return (
    <nav className="entries hits" aria-label={text.searchResults} aria-busy={count === null}>
      {error instanceof Problem && <p role="alert">{error.message}</p>}
      {count === 0 && <p className="quietly small">{text.nothingFound(words)}</p>}
      <ul>
        {hits.map((hit) => (
          <Found key={`${hit.conversation_id} ${hit.message_id}`} hit={hit} />
        ))}
      </ul>
      {hasNextPage && (
        <button type="button" className="quiet" onClick={() => fetchNextPage()}>
          {text.more}
        </button>
      )}
    </nav>
  );
}

function Found({ hit: { conversation_id, message_id, title, role, snippet, created } }: { hit: Hit }) {
  const text = useText(catalogue);
  const said = role && { user: text.you, assistant: text.parley }[role];
  return (
    <li>
      <Link to={`/c/${conversation_id}${message_id ? `#m-${message_id}` : ""}`}>
        <strong>{title || text.untitled}</strong>
        <span className="snippet">
          {said && `${said}: `}
          {snippet.map((part, index) =>
            // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one text, in order
            part.hit ? <mark key={index}>{part.text}</mark> : <span key={index}>{part.text}</span>,
          )}
        </span>
        <span className="when">{moment(created)}</span>
      </Link>
    </li>
  );
}

function useFound(words: string) {
  return useInfiniteQuery({
    queryKey: ["search", words],
    queryFn: ({ pageParam, signal }) =>
      call("GET /api/search", { query: { q: words, before: pageParam === null ? null : Number(pageParam) }, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.before,
    placeholderData: keepPreviousData,
  });
}
