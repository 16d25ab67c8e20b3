// What the service says of the run, asked again and again while it goes.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";
import type { Evaluation, RunAnswer, RunDetails, StageAnswer } from "../api.gen";
import { call, request } from "../shared/api";

const STEP_MS = 1_000;
const DETAILS_MS = 2_000;
const IDLE_MS = 10_000; // another run may begin

/** How far the run is. */
export function useRun() {
  return useQuery({
    queryKey: ["run"],
    queryFn: ({ signal }) => call("GET /api/run", { signal }),
    refetchInterval: ({ state }) => (state.data?.state === "running" ? STEP_MS : IDLE_MS),
  });
}

type Dated = { etag: string | null; details: RunDetails };

/** What the run has measured. The server sends nothing where nothing changed. */
export function useDetails(run: RunAnswer | undefined) {
  const queries = useQueryClient();
  const key = ["run", "details"];
  useLooking(run);
  return useQuery({
    queryKey: key,
    queryFn: ({ signal }) => readChanged(queries.getQueryData<Dated>(key), signal),
    refetchInterval: run?.state === "running" ? DETAILS_MS : IDLE_MS,
    structuralSharing: false, // the same object where nothing changed
    select: ({ details }) => details,
  });
}

/** A stage that begins or ends brings figures, and maybe a release: looks at once. */
function useLooking(run: RunAnswer | undefined): void {
  const queries = useQueryClient();
  const states = run && [run.state, ...run.stages.map(({ state }) => state)].join();
  // biome-ignore lint/correctness/useExhaustiveDependencies: `states` says when
  useEffect(() => {
    void queries.invalidateQueries({ queryKey: ["run", "details"] });
    void queries.invalidateQueries({ queryKey: ["releases"] });
  }, [queries, states]);
}

async function readChanged(before: Dated | undefined, signal: AbortSignal): Promise<Dated> {
  const headers: Record<string, string> = before?.etag ? { "if-none-match": before.etag } : {};
  const answer = await request("/api/run/details", { headers, cache: "no-store", signal });
  if (answer.status === 304 && before) return before;
  return { etag: answer.headers.get("etag"), details: (await answer.json()) as RunDetails };
}

/** The stages that train or make something: measuring and releasing belong to the stage that they follow. */
export function stepsOf(run: RunAnswer): readonly StageAnswer[] {
  return run.stages.filter(({ name }) => !/^(evaluate|release)-/.test(name));
}

/** Those of them that have a training curve. */
export function trainedOf(run: RunAnswer): readonly string[] {
  return stepsOf(run)
    .map(({ name }) => name)
    .filter((name) => !/^(data|tokenizer|rank)/.test(name));
}

/** Seconds that the finished stages took. */
export function secondsOf(run: RunAnswer): number {
  return run.stages.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** Evaluations by an exact truth, which the micro-world alone has. */
export function judgedOf({ evaluations }: RunDetails): readonly Evaluation[] {
  return evaluations.filter(({ decodings }) => decodings.length > 0);
}
