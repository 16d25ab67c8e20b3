// Where we are, and how to go elsewhere. Screens are chosen in `app.tsx`.

import { type ComponentPropsWithRef, type MouseEvent, useEffect } from "react";
import { createStore, useStore } from "./store";

export type Place = { readonly path: string; readonly search: string; readonly hash: string };

const place = createStore<Place>(here());

window.addEventListener("popstate", () => place.set(here()));

/** Where we are now. */
export function usePlace(): Place {
  return useStore(place);
}

/** Goes to an address of ours; `replace` leaves no way back to the one of now. */
export function go(to: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  place.set(here());
}

/** A link within the application: no reload, and everything else that a link can do. */
export function Link({ to, onClick, ...rest }: { to: string } & ComponentPropsWithRef<"a">) {
  const { path } = usePlace();
  const followed = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (event.defaultPrevented || !plain) return;
    event.preventDefault();
    go(to);
  };
  return <a {...rest} href={to} aria-current={path === to ? "page" : undefined} onClick={followed} />;
}

/** The page's title while this screen is shown. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title ? `${title} · parley` : "parley";
  }, [title]);
}

function here(): Place {
  const { pathname, search, hash } = window.location;
  return { path: pathname, search, hash };
}
