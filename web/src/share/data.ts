// The links that a person shared.

import { type QueryClient, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { Share } from "../api.gen";
import { call, Problem } from "../shared/api";

/** All links of the person's, newest first; undefined until they were read. */
export function useShares(enabled: boolean): readonly Share[] | undefined {
  return useQuery({
    queryKey: ["shares"],
    queryFn: ({ signal }) => call("GET /api/shares", { signal }),
    enabled,
  }).data?.shares;
}

/** Makes a link to the conversation as it now is. Raises `Problem`. */
export async function makeShare(queries: QueryClient, conversation: string, days: number | null): Promise<Share> {
  const share = await call("POST /api/conversations/{conversation_id}/shares", {
    path: { conversation_id: conversation },
    body: { days },
  });
  await queries.invalidateQueries({ queryKey: ["shares"] });
  return share;
}

/** `revoke` ends a link at once; `problem` says why that could not be. */
export function useRevoke() {
  const queries = useQueryClient();
  const [problem, setProblem] = useState("");
  const revoke = async (share: Share) => {
    try {
      await call("DELETE /api/shares/{share_id}", { path: { share_id: share.id } });
      setProblem("");
      await queries.invalidateQueries({ queryKey: ["shares"] });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    }
  };
  return { revoke, problem };
}

/** The whole address of a link. */
export function addressOf({ url }: Share): string {
  return new URL(url, window.location.origin).href;
}
