// Having a reply written again.

import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { Message } from "../api.gen";
import { Problem } from "../shared/api";
import { releasesAsked } from "./answering";
import { regenerate } from "./say";

/** `run` has the reply written again, by who answers now; `problem` says why that could not be. */
export function useRegenerate(message: Message | undefined) {
  const queries = useQueryClient();
  const [problem, setProblem] = useState("");
  const run = () => {
    if (!message || message.state === "pending") return;
    const [release = null] = releasesAsked();
    setProblem("");
    regenerate(queries, message, release).catch((error) => {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.message);
    });
  };
  return { run, problem };
}
