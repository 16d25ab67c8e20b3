// Names for parts of what goes over the wire.

import type { FeedbackAsk, FinishEvent, VoteAsk } from "../api.gen";
import type { Answer } from "../shared/api";

export type Turn = Answer<"POST /api/conversations/{conversation_id}/turns">;
export type EndState = FinishEvent["state"];
export type Outcome = VoteAsk["outcome"];
export type Reason = NonNullable<FeedbackAsk["reasons"]>[number];
