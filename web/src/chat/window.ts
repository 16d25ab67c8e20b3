// Which messages of a long conversation are on the page: a few hundred around the reader, however many were loaded.

import { useQueryClient } from "@tanstack/react-query";
import { type RefObject, useCallback, useEffect, useRef, useState } from "react";
import type { Conversation, Message } from "../api.gen";
import { loadAbove } from "./conversations";

const STEP = 100;
const MOST = 300; // on the page at once
const NEAR = "1500px 0px 1500px 0px"; // go on before the edge is reached

/** Both counted from the end, so that what comes in above shifts nothing. */
type Span = { readonly above: number; readonly below: number };

const AT_END: Span = { above: STEP, below: 0 };

/** The messages to show, and markers for either end: near one, the window moves on, and loads what is missing above. */
export function useWindow(scroller: RefObject<HTMLElement | null>, { id, messages, before }: Conversation) {
  const queries = useQueryClient();
  const [span, setSpan] = useState(AT_END);
  const count = messages.length;
  const isFirstShown = span.above >= count;
  const up = useCallback(() => {
    if (isFirstShown && before) void loadAbove(queries, id).catch(() => undefined); // asked for again when scrolled
    setSpan(({ above, below }) => {
      const next = Math.min(above, count) + STEP;
      return { above: next, below: Math.max(below, next - MOST) };
    });
  }, [queries, id, before, count, isFirstShown]);
  const down = useCallback(
    () =>
      setSpan(({ above, below }) => {
        const next = Math.max(0, below - STEP);
        return { above: Math.min(above, next + MOST), below: next };
      }),
    [],
  );
  const showEnd = useCallback(() => setSpan(AT_END), []);
  const showAt = useCallback((place: number, all: number) => {
    const below = Math.max(0, all - place - STEP / 2);
    setSpan({ above: below + STEP, below });
  }, []);
  const [from, to] = [Math.max(0, count - span.above), count - span.below];
  const shown: readonly Message[] = messages.slice(from, to);
  return {
    shown,
    hasAbove: from > 0 || before !== null,
    isEndShown: span.below === 0,
    top: useNear(scroller, up, from > 0 || before !== null, from),
    bottom: useNear(scroller, down, span.below > 0, span.below),
    showEnd,
    showAt,
  };
}

/** A marker; `act` is called when the reader comes near it, and again when `state` changed and it still is. */
function useNear(scroller: RefObject<HTMLElement | null>, act: () => void, isAwake: boolean, state: number) {
  const marker = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `state` says when to look again
  useEffect(() => {
    if (!marker.current || !isAwake) return;
    const near = new IntersectionObserver(([seen]) => seen?.isIntersecting && act(), {
      root: scroller.current,
      rootMargin: NEAR,
    });
    near.observe(marker.current);
    return () => near.disconnect();
  }, [scroller, act, isAwake, state]);
  return marker;
}
