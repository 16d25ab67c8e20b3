// Who is signed in, and what they chose.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import type { Me, MeAsk } from "../api.gen";
import { call } from "./api";
import { isLanguage, setLanguage } from "./i18n";

const LASTS_MS = 60_000;

/** The person; undefined until that is known. */
export function useMe(): Me | undefined {
  return useQuery({
    queryKey: ["me"],
    queryFn: ({ signal }) => call("GET /api/me", { signal }),
    staleTime: LASTS_MS,
  }).data;
}

/** Whether the person may decide about releases. */
export function useIsOwner(): boolean {
  return useMe()?.roles.includes("admin") ?? false;
}

/** Changes the account. Raises `Problem`. */
export function useChangeMe(): (change: MeAsk) => Promise<void> {
  const queries = useQueryClient();
  return async (change) => {
    const me = await call("PATCH /api/me", { body: change });
    await queries.cancelQueries({ queryKey: ["me"] });
    queries.setQueryData(["me"], me);
  };
}

/** The account's language, where one was chosen, is that of the page. */
export function usePersonsLanguage(): void {
  const chosen = useMe()?.language;
  useEffect(() => {
    if (isLanguage(chosen)) setLanguage(chosen);
  }, [chosen]);
}
