// Who can answer.

import { useQuery } from "@tanstack/react-query";
import { useCallback } from "react";
import type { Release } from "../api.gen";
import { call } from "./api";

const EMPTY_MS = 2_000;
const CHANGING_MS = 15_000; // a run may cut another one

/** The releases, oldest first. Asked again and again, sooner while there is none. */
export function useReleases() {
  return useQuery({
    queryKey: ["releases"],
    queryFn: ({ signal }) => call("GET /api/releases", { signal }),
    refetchInterval: ({ state }) => (state.data?.releases.length ? CHANGING_MS : EMPTY_MS),
    select: ({ releases }): readonly Release[] => releases,
  });
}

/** Whether somebody can answer; null while nobody knows. */
export function useHasReleases(): boolean | null {
  const { data } = useReleases();
  return data ? data.length > 0 : null;
}

/** What people call a release of this name; the name itself of one that is not there any more. */
export function useReleaseLabels(): (name: string | null) => string {
  const { data } = useReleases();
  return useCallback((name) => data?.find((one) => one.name === name)?.label ?? name ?? "", [data]);
}

/** The releases of the newest run, oldest first. */
export function ofNewestRun(releases: readonly Release[]): readonly Release[] {
  const run = releases.at(-1)?.run;
  return releases.filter((one) => one.run === run);
}
