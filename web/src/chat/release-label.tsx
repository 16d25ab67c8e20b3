// What people call a release. The thread asks once for all of its messages.

import { createContext, type ReactNode, useContext } from "react";
import type { Release } from "../api.gen";
import { useReleases } from "../shared/releases";

const NONE: readonly Release[] = [];
const Known = createContext(NONE);

export function ReleaseNames({ children }: { children: ReactNode }) {
  const { data = NONE } = useReleases();
  return <Known value={data}>{children}</Known>;
}

/** The release of this name, where it is known. */
export function useRelease(name: string | null): Release | undefined {
  return useContext(Known).find((one) => one.name === name);
}

/** A release's name for people; "" where there is none. */
export function useReleaseLabel(name: string | null): string {
  return useRelease(name)?.label ?? name ?? "";
}
