// Written by `python -m web.client` from openapi.json. Do not edit.

/** How often a reward model preferred what people preferred, on rankings that it had not seen. */
export type Agreement = {
  stage: string;
  overall: Interval;
  by_source: Record<string, Interval>;
};

/** Who wrote a message; `release` is null for people, and while a blind vote is open. */
export type Author = {
  kind: "user" | "model" | "trainer";
  release: string | null;
};

/** How much of one kind of unsafe content a text has, from 0 to 1. */
export type CategoryScore = {
  name: string;
  score: number;
};

/** Two answers to one message, side by side. `revealed`: who wrote left and right, after the vote. */
export type ComparisonRow = {
  id: string;
  kind: "drafts" | "versus";
  left: string;
  right: string;
  outcome: "left" | "right" | "tie" | "both_bad" | null;
  revealed: [string, string] | null;
};

/** Whether what a person says may be learnt from. `text` is in their language. `granted_version` is the text that the consent in force was given to, `changed` when it was given or withdrawn last, in seconds since 1970. */
export type Consent = {
  train: boolean;
  text_version: string;
  granted_version: string | null;
  changed: number | null;
  text: string;
};

/** `PUT /api/consent`; `text_version` is the one that the person read. */
export type ConsentAsk = {
  train: boolean;
  text_version: string;
};

/** A conversation with the newest messages of its selected branch, oldest first. `before` asks for the messages above them, null where there are none. */
export type Conversation = {
  id: string;
  title: string;
  created: number;
  updated: number;
  training_use: "inherit" | "no" | "yes";
  closed: boolean;
  kind: "chat" | "compare";
  group: string | null;
  release: string | null;
  messages: readonly (Message)[];
  before: string | null;
};

/** `POST /api/conversations`. `release` answers where a turn names none. */
export type ConversationAsk = {
  kind?: "chat" | "compare";
  group?: string | null;
  release?: string | null;
};

/** `PATCH /api/conversations/{id}`. What is left out stays; a closed conversation takes no turns. */
export type ConversationChange = {
  title?: string | null;
  training_use?: "inherit" | "no" | "yes" | null;
  closed?: boolean | null;
};

/** A conversation as the history lists it. `group` is what the columns of a comparison share. */
export type ConversationRow = {
  id: string;
  title: string;
  created: number;
  updated: number;
  training_use: "inherit" | "no" | "yes";
  closed: boolean;
  kind: "chat" | "compare";
  group: string | null;
  release: string | null;
};

/** Latest first; `before` asks for those that follow, null where there are none. */
export type Conversations = {
  conversations: readonly (ConversationRow)[];
  before: string | null;
};

/** A training stage's figures over its steps, a list for each name; None where one was not written. All lists are equally long. Long stages are thinned: a point is the mean of `lines_per_point` lines. */
export type Curve = {
  stage: string;
  lines_per_point: number;
  columns: Record<string, readonly (number | null)[]>;
};

/** `POST /api/queue/{id}`. `content_hash` names the words that were read. */
export type Decision = {
  accept: boolean;
  content_hash: string;
};

/** What one policy's answers were worth in the micro-world, decoded one way (`T=0.7`, `greedy`). */
export type Decoding = {
  name: string;
  gold: Interval;
  mean_success: Interval | null;
  behaviours: Record<string, Interval>;
  rates: Record<string, Interval>;
};

/** Further text of the reply. */
export type DeltaEvent = {
  type: "delta";
  text: string;
};

/** The one shape of an error, under `/v1` and `/api` alike: a problem document (RFC 9457) and OpenAI's. `detail` is a sentence for the person. In a stream there is `error` alone. */
export type ErrorAnswer = {
  type: string | null;
  title: string | null;
  status: number | null;
  detail: string | null;
  error: ErrorBody;
};

/** What went wrong, in OpenAI's words; `param` names the field at fault. */
export type ErrorBody = {
  message: string;
  type: string;
  param: string | null;
  code: string | null;
};

/** How one policy was measured: `decodings` in the micro-world, `figures` on people's words. */
export type Evaluation = {
  stage: string;
  decodings: readonly (Decoding)[];
  figures: Record<string, number>;
  transcribed: string;
  transcripts: readonly (Exchange)[];
};

/** A question with what came before it as (role, text), and the answer. `gold` where a truth judges it. */
export type Exchange = {
  messages: readonly ([string, string])[];
  reply: string;
  behaviour: string;
  gold: number | null;
};

/** What a person said of a message. `changed` is in seconds since 1970. */
export type Feedback = {
  value: "up" | "down";
  reasons: readonly ("harmful" | "false" | "unhelpful" | "too_long" | "other")[];
  note: string;
  ideal: string;
  changed: number;
};

/** `PUT /api/messages/{id}/feedback`: takes the place of what this person said before. */
export type FeedbackAsk = {
  value: "up" | "down";
  reasons?: readonly ("harmful" | "false" | "unhelpful" | "too_long" | "other")[];
  note?: string;
  /** What it should have said */
  ideal?: string;
};

/** One step of how feedback came to be; `feedback` is null where it was taken back. */
export type FeedbackEntry = {
  at: number;
  feedback: Feedback | null;
};

/** Oldest first. */
export type FeedbackHistory = {
  entries: readonly (FeedbackEntry)[];
};

/** The last event of a reply. `message` is how it stands now, and stays. `reason` is a sentence where the reply did not simply come to its end. */
export type FinishEvent = {
  type: "finish";
  state: "complete" | "stopped" | "length" | "blocked" | "failed";
  reason: string | null;
  message: Message;
};

/** One `data:` line of `GET /api/generations/{id}/events`. */
export type GenerationEvent = StartEvent | DeltaEvent | NoticeEvent | WithdrawEvent | FinishEvent;

/** `PUT /api/conversations/{id}/head`: the branch through this message, down to its latest leaf. */
export type HeadAsk = {
  message_id: string;
};

/** A message, or with `message_id` null a title, that holds what was searched for. */
export type Hit = {
  conversation_id: string;
  title: string;
  message_id: string | null;
  role: "user" | "assistant" | null;
  snippet: readonly (SnippetPart)[];
  created: number;
};

/** Newest first; `before` asks for those that follow, null where there are none. */
export type Hits = {
  hits: readonly (Hit)[];
  before: string | null;
};

/** A measured value with its 95 % interval, from `n` observations. */
export type Interval = {
  value: number;
  low: number;
  high: number;
  n: number;
};

/** Who is signed in. `language` is null until it was chosen. */
export type Me = {
  id: string;
  name: string;
  roles: readonly ("user" | "trainer" | "reviewer" | "moderator" | "admin")[];
  language: string | null;
  preview_seen: boolean;
  consent: Consent;
};

/** `PATCH /api/me`. What is left out stays. */
export type MeAsk = {
  name?: string | null;
  language?: "en" | "tr" | null;
  preview_seen?: boolean | null;
};

/** One message of a conversation's tree. `content` grows until `state` is no longer `pending`. `error` is a sentence that says what went wrong, where something did. `siblings` are the ids of all messages with the same parent, this one included, oldest first. */
export type Message = {
  id: string;
  conversation_id: string;
  parent_id: string | null;
  role: "user" | "assistant";
  content: string;
  state: "pending" | "complete" | "stopped" | "length" | "blocked" | "failed";
  error: string | null;
  author: Author;
  created: number;
  generation_id: string | null;
  siblings: readonly (string)[];
  verdict: Verdict | null;
  feedback: Feedback | null;
  objection: Objection | null;
  comparison_id: string | null;
};

/** Moderation warns about the reply, which goes on. */
export type NoticeEvent = {
  type: "notice";
  verdict: Verdict;
};

/** What a person said against a verdict. `changed` is in seconds since 1970. */
export type Objection = {
  note: string;
  changed: number;
};

/** `PUT /api/messages/{id}/objection`: the warning or the block is wrong. */
export type ObjectionAsk = {
  note?: string;
};

/** A checkpoint that a release came from; `release` is null where it was never released. */
export type ParentRelease = {
  digest: string;
  release: string | null;
};

/** `POST /api/releases/{name}/promote`: live, unless another state is named. */
export type PromoteAsk = {
  state?: "candidate" | "shadow" | "canary" | "live" | "retired";
  /** Of the people; a canary's */
  share?: number | null;
};

/** Oldest first; `after` asks for those that follow, null where there are none. */
export type Queue = {
  items: readonly (QueueItem)[];
  after: string | null;
};

/** Something that could be learnt from. A `demonstration` has the answer that was given and `ideal`, what it should have said. A `prompt` has the answer that was bad. A `comparison` has both answers and the vote's `outcome`. */
export type QueueItem = {
  id: string;
  kind: "demonstration" | "comparison" | "prompt";
  state: "waiting" | "accepted" | "rejected";
  created: number;
  person: string;
  history: readonly (QueuedMessage)[];
  answers: readonly (QueuedMessage)[];
  reasons: readonly (string)[];
  note: string;
  ideal: string;
  outcome: string | null;
  content_hash: string;
  decided: number | null;
  decided_by: string | null;
};

/** One turn of what a candidate is about. */
export type QueuedMessage = {
  id: string;
  role: "user" | "assistant";
  content: string;
  release: string | null;
};

/** `POST /api/messages/{id}/regenerate`: a sibling of this reply. */
export type RegenerateAsk = {
  client_id: string;
  release?: string | null;
  temperature?: number | null;
};

/** A release, where it stands, and `label`, its name for people. `card` is the address of its card. */
export type Release = {
  name: string;
  label: string;
  stage: string;
  run: string;
  created: number;
  state: "candidate" | "shadow" | "canary" | "live" | "retired";
  share: number | null;
  is_default: boolean;
  card: string | null;
};

/** A decision about a release. `by` is a person's id or `cli:NAME`; `at` is in seconds since 1970. */
export type ReleaseChange = {
  action: string;
  state: string;
  share: number | null;
  default: string | null;
  by: string;
  at: number;
};

/** A release with its lineage, its figures and what was decided about it, newest first. */
export type ReleaseDetails = {
  release: Release;
  checkpoint: string | null;
  data: string | null;
  parents: readonly (ParentRelease)[];
  figures: Record<string, number | null>;
  seed: number | null;
  commit: string | null;
  history: readonly (ReleaseChange)[];
};

/** Oldest first. The one with `is_default` answers where none is named. */
export type Releases = {
  releases: readonly (Release)[];
};

/** `POST /api/releases/{name}/rollback`. */
export type RollbackAsk = {

};

/** How far the run is. */
export type RunAnswer = {
  recipe: string;
  state: "none" | "running" | "done" | "failed" | "stopped";
  stages: readonly (StageAnswer)[];
  remaining_seconds: number | null;
  message: string;
};

/** What a run has measured so far. Stages are named as in `StageView.name`, policies `base`, `ppo-1` … */
export type RunDetails = {
  revision: string;
  recipe: string;
  run: string;
  seed: number | null;
  plan: Record<string, string>;
  policies: readonly (string)[];
  curves: readonly (Curve)[];
  agreements: readonly (Agreement)[];
  evaluations: readonly (Evaluation)[];
  sources: readonly (Source)[];
};

/** A link that shows a conversation as it was. Times are in seconds since 1970. */
export type Share = {
  id: string;
  conversation_id: string;
  url: string;
  title: string;
  created: number;
  expires: number | null;
  revoked: number | null;
};

/** `POST /api/conversations/{id}/shares`: up to `message_id`, or the whole selected branch. */
export type ShareAsk = {
  message_id?: string | null;
  /** null: until it is revoked */
  days?: number | null;
};

/** What a stranger with the link sees. */
export type SharedConversation = {
  title: string;
  created: number;
  messages: readonly (SharedMessage)[];
};

/** One turn of a shared conversation. */
export type SharedMessage = {
  role: "user" | "assistant";
  content: string;
  release: string | null;
};

/** Newest first. */
export type Shares = {
  shares: readonly (Share)[];
};

/** A piece of a text that was found; `hit` where it is what was searched for. */
export type SnippetPart = {
  text: string;
  hit: boolean;
};

/** A finished stage's directory: where its figures come from. `finished` is in seconds since 1970. */
export type Source = {
  stage: string;
  directory: string;
  digest: string;
  seconds: number;
  finished: number;
};

/** One stage of the run. */
export type StageAnswer = {
  name: string;
  label: string;
  state: "waiting" | "running" | "done" | "failed";
  done: number;
  total: number;
  seconds: number;
  remaining_seconds: number | null;
  figures: Record<string, number | null>;
};

/** The first event of a reply: who writes it; null while that is hidden. */
export type StartEvent = {
  type: "start";
  release: string | null;
};

/** What a turn made: the person's message and the replies that are being written to it. A message that moderation blocked has no replies. Two replies come with their comparison. */
export type Turn = {
  user: Message;
  replies: readonly (Message)[];
  comparison: ComparisonRow | null;
};

/** `POST /api/conversations/{id}/turns`. `parent_id` is the reply that this follows, null at the start; an edit has the parent of the message that it replaces. `client_id` names the request: asked again, it is answered again and not done twice. Two releases make a blind comparison. */
export type TurnAsk = {
  parent_id: string | null;
  content: string;
  client_id: string;
  releases?: readonly (string)[];
  temperature?: number | null;
};

/** What moderation said; `message` is a sentence for the person. */
export type Verdict = {
  action: "allow" | "warn" | "block";
  categories: readonly (CategoryScore)[];
  policy: string;
  message: string;
};

/** `PUT /api/comparisons/{id}/vote`. A vote stays as it was given. */
export type VoteAsk = {
  outcome: "left" | "right" | "tie" | "both_bad";
};

/** Moderation took the reply back: what was shown of it must go. */
export type WithdrawEvent = {
  type: "withdraw";
  verdict: Verdict;
};

export interface Routes {
  "GET /api/comparisons/{comparison_id}": { path: { comparison_id: string }; query: undefined; body: undefined; answer: ComparisonRow };
  "PUT /api/comparisons/{comparison_id}/vote": { path: { comparison_id: string }; query: undefined; body: VoteAsk; answer: ComparisonRow };
  "GET /api/consent": { path: undefined; query: undefined; body: undefined; answer: Consent };
  "PUT /api/consent": { path: undefined; query: undefined; body: ConsentAsk; answer: Consent };
  "GET /api/conversations": { path: undefined; query: { before?: string | null; limit?: number; kind?: "chat" | "compare"; group?: string | null }; body: undefined; answer: Conversations };
  "POST /api/conversations": { path: undefined; query: undefined; body: ConversationAsk; answer: ConversationRow };
  "GET /api/conversations/{conversation_id}": { path: { conversation_id: string }; query: { before?: string | null }; body: undefined; answer: Conversation };
  "PATCH /api/conversations/{conversation_id}": { path: { conversation_id: string }; query: undefined; body: ConversationChange; answer: ConversationRow };
  "DELETE /api/conversations/{conversation_id}": { path: { conversation_id: string }; query: undefined; body: undefined; answer: undefined };
  "PUT /api/conversations/{conversation_id}/head": { path: { conversation_id: string }; query: undefined; body: HeadAsk; answer: Conversation };
  "POST /api/conversations/{conversation_id}/shares": { path: { conversation_id: string }; query: undefined; body: ShareAsk; answer: Share };
  "POST /api/conversations/{conversation_id}/turns": { path: { conversation_id: string }; query: undefined; body: TurnAsk; answer: Turn };
  "GET /api/generations/{generation_id}/events": { path: { generation_id: string }; query: { after?: number }; body: undefined; answer: GenerationEvent | undefined };
  "POST /api/generations/{generation_id}/stop": { path: { generation_id: string }; query: undefined; body: undefined; answer: unknown };
  "GET /api/me": { path: undefined; query: undefined; body: undefined; answer: Me };
  "PATCH /api/me": { path: undefined; query: undefined; body: MeAsk; answer: Me };
  "GET /api/messages/{message_id}": { path: { message_id: string }; query: undefined; body: undefined; answer: Message };
  "PUT /api/messages/{message_id}/feedback": { path: { message_id: string }; query: undefined; body: FeedbackAsk; answer: Feedback };
  "DELETE /api/messages/{message_id}/feedback": { path: { message_id: string }; query: undefined; body: undefined; answer: undefined };
  "GET /api/messages/{message_id}/feedback/history": { path: { message_id: string }; query: undefined; body: undefined; answer: FeedbackHistory };
  "PUT /api/messages/{message_id}/objection": { path: { message_id: string }; query: undefined; body: ObjectionAsk; answer: Objection };
  "DELETE /api/messages/{message_id}/objection": { path: { message_id: string }; query: undefined; body: undefined; answer: undefined };
  "POST /api/messages/{message_id}/regenerate": { path: { message_id: string }; query: undefined; body: RegenerateAsk; answer: Turn };
  "GET /api/queue": { path: undefined; query: { state?: "waiting" | "accepted" | "rejected"; after?: string | null }; body: undefined; answer: Queue };
  "POST /api/queue/{candidate_id}": { path: { candidate_id: string }; query: undefined; body: Decision; answer: undefined };
  "GET /api/releases": { path: undefined; query: undefined; body: undefined; answer: Releases };
  "GET /api/releases/{name}": { path: { name: string }; query: undefined; body: undefined; answer: ReleaseDetails };
  "GET /api/releases/{name}/card": { path: { name: string }; query: undefined; body: undefined; answer: string };
  "POST /api/releases/{name}/promote": { path: { name: string }; query: undefined; body: PromoteAsk; answer: Releases };
  "POST /api/releases/{name}/rollback": { path: { name: string }; query: undefined; body: RollbackAsk; answer: Releases };
  "GET /api/run": { path: undefined; query: undefined; body: undefined; answer: RunAnswer };
  "GET /api/run/details": { path: undefined; query: undefined; body: undefined; answer: RunDetails };
  "GET /api/search": { path: undefined; query: { q: string; before?: number | null }; body: undefined; answer: Hits };
  "GET /api/shared/{token}": { path: { token: string }; query: undefined; body: undefined; answer: SharedConversation };
  "GET /api/shares": { path: undefined; query: undefined; body: undefined; answer: Shares };
  "DELETE /api/shares/{share_id}": { path: { share_id: string }; query: undefined; body: undefined; answer: undefined };
}
