// Whoever is signed out comes back, after signing in, to where they were.

import { connection } from "./api";
import { go } from "./router";
import { keep, kept } from "./store";

const NAME = "return-to";

/** Notes the place when a session ends, and goes there when the next one begins at the front door. */
export function comeBack(): void {
  const { pathname, search, hash } = window.location;
  const place = kept(NAME);
  if (place?.startsWith("/") && pathname === "/" && !search && !hash) go(place, { replace: true });
  keep(NAME, null);
  connection.subscribe(() => {
    const now = window.location;
    keep(NAME, connection.get() === "signed-out" ? now.pathname + now.search : null);
  });
}
