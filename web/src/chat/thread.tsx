// The messages of the selected branch, oldest first. It stays at its end while a reply grows, unless the reader went up.

import { useQueryClient } from "@tanstack/react-query";
import { memo, type RefObject, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { Conversation, Message } from "../api.gen";
import { useText } from "../shared/i18n";
import { usePlace } from "../shared/router";
import { loadAbove, select, threadOf } from "./conversations";
import { Pair } from "./pair";
import { ReleaseNames } from "./release-label";
import { Reply } from "./reply";
import { text as catalogue } from "./text";
import { useKeysOfLast } from "./thread-keys";
import { UserMessage } from "./user-message";
import { useWindow } from "./window";

const AT_END_PX = 8;

type Props = {
  thread: Conversation;
  /** To the end, whenever this changes. */
  follow: number;
  editing: string | null;
  onEditing: (message: string | null) => void;
  onEdited: (content: string, parent: string | null) => Promise<void>;
};

export function Thread({ thread, follow, editing, onEditing, onEdited }: Props) {
  const text = useText(catalogue);
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const { shown, hasAbove, isEndShown, top, bottom, showEnd, showAt } = useWindow(scroller, thread);
  const { isAtEnd, toEnd, letGo } = useEnd(scroller, content, isEndShown, showEnd);
  useRevealed(thread, letGo, showAt);
  useKeysOfLast(thread, onEditing);
  useKeepingPlace(scroller, shown[0]?.id);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `follow` says when
  useEffect(toEnd, [follow]);
  return (
    <div className="middle">
      <div className="scroller" ref={scroller}>
        <div className="column thread" ref={content}>
          <div ref={top} />
          {hasAbove && <p className="quietly above">{text.loadingAbove}</p>}
          <ReleaseNames>
            <ol>
              {shown.map((message) => (
                <li key={message.parent_id ?? "first"} id={`m-${message.id}`} tabIndex={-1}>
                  <Turn
                    message={message}
                    isLast={message === thread.messages.at(-1)}
                    isEdited={editing === message.id}
                    closed={thread.closed}
                    onEditing={onEditing}
                    onEdited={onEdited}
                  />
                </li>
              ))}
            </ol>
          </ReleaseNames>
          <div ref={bottom} />
        </div>
      </div>
      {!isAtEnd && (
        <button type="button" className="to-end" onClick={toEnd}>
          <span aria-hidden="true">↓</span> {text.toEnd}
        </button>
      )}
    </div>
  );
}

const Turn = memo(function Turn({
  message,
  isLast,
  isEdited,
  closed,
  onEditing,
  onEdited,
}: {
  message: Message;
  isLast: boolean;
  isEdited: boolean;
  closed: boolean;
} & Pick<Props, "onEditing" | "onEdited">) {
  if (message.role === "user") {
    return (
      <UserMessage message={message} isEdited={isEdited} closed={closed} onEditing={onEditing} onEdited={onEdited} />
    );
  }
  if (message.comparison_id && isLast) return <Pair message={message} closed={closed} />;
  return <Reply message={message} closed={closed} isLast={isLast} />;
});

/** Keeps the end in view while the content grows, until the reader goes up; at the end again, it goes on. */
function useEnd(
  scroller: RefObject<HTMLDivElement | null>,
  content: RefObject<HTMLDivElement | null>,
  isEndShown: boolean,
  showEnd: () => void,
) {
  const holds = useRef(true);
  const isShown = useRef(isEndShown);
  isShown.current = isEndShown;
  const [isAtEnd, setAtEnd] = useState(true);
  const toEnd = () => {
    holds.current = true;
    showEnd();
    scroller.current?.scrollTo({ top: scroller.current.scrollHeight });
  };
  useEffect(() => {
    const [box, inner] = [scroller.current, content.current];
    if (!box || !inner) return;
    let before = box.scrollTop;
    const distance = () => box.scrollHeight - box.clientHeight - box.scrollTop;
    const look = () => setAtEnd(holds.current || (isShown.current && distance() <= box.clientHeight / 4));
    const scrolled = () => {
      if (distance() <= AT_END_PX && isShown.current) holds.current = true;
      else if (box.scrollTop < before) holds.current = false;
      before = box.scrollTop;
      look();
    };
    const sizes = new ResizeObserver(() => {
      if (holds.current) box.scrollTop = box.scrollHeight;
      look();
    });
    box.addEventListener("scroll", scrolled, { passive: true });
    sizes.observe(inner);
    sizes.observe(box);
    return () => {
      box.removeEventListener("scroll", scrolled);
      sizes.disconnect();
    };
  }, [scroller, content]);
  const letGo = () => {
    holds.current = false;
  };
  return { isAtEnd, toEnd, letGo };
}

/** At the very top no browser keeps the reader's place when something comes in above. */
function useKeepingPlace(scroller: RefObject<HTMLDivElement | null>, first: string | undefined) {
  const height = useRef(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new first message is what came in above
  useLayoutEffect(() => {
    const box = scroller.current;
    if (box && height.current && box.scrollTop < 1) box.scrollTop = box.scrollHeight - height.current;
  }, [first]);
  useLayoutEffect(() => {
    height.current = scroller.current?.scrollHeight ?? 0;
  });
}

/** The message that the address names (`#m-…`), in view and with the focus, on whichever branch it is. */
function useRevealed({ id }: Conversation, letGo: () => void, showAt: (place: number, all: number) => void) {
  const queries = useQueryClient();
  const { hash } = usePlace();
  const wanted = /^#m-(.+)$/.exec(hash)?.[1];
  const [due, setDue] = useState<string | null>(null);
  useLayoutEffect(() => {
    const element = due && document.getElementById(`m-${due}`);
    if (!element) return;
    element.scrollIntoView({ block: "center" });
    element.focus({ preventScroll: true });
    setDue(null);
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: once for every address
  useEffect(() => {
    if (!wanted) return;
    letGo();
    const messages = () => threadOf(queries, id)?.messages ?? [];
    const place = () => messages().findIndex((one) => one.id === wanted);
    const load = async () => {
      if (place() < 0) await select(queries, id, wanted);
      while (place() < 0 && threadOf(queries, id)?.before) await loadAbove(queries, id);
    };
    const show = () => {
      showAt(place(), messages().length);
      setDue(wanted);
    };
    void load().then(show, () => undefined); // gone: the conversation is shown as it is
  }, [wanted, id]);
}
