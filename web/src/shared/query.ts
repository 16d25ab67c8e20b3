// How questions to the service are kept, asked again and given up.

import { QueryClient } from "@tanstack/react-query";
import { Problem } from "./api";

const LONGEST_WAIT_MS = 15_000;

/** A server that does not answer is asked again for as long as it takes; a refusal is an answer. */
export function createQueries(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        networkMode: "always", // the server may be this very machine
        staleTime: 5_000,
        retry: (failures, error) => isPassing(error) && (status(error) === 0 || failures < 3),
        retryDelay: (failures) => Math.min(LONGEST_WAIT_MS, 500 * 2 ** failures),
      },
      mutations: { networkMode: "always", retry: false },
    },
  });
}

function isPassing(error: Error): boolean {
  return [0, 429, 502, 503, 504].includes(status(error));
}

function status(error: Error): number {
  return error instanceof Problem ? error.status : -1;
}
