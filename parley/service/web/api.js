// What the page asks of the server. Nothing here touches the document.

/** A refusal or a failure: `message` is for people, `status` 0 means that nobody answered. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const GONE = "The server does not answer.";

/** What `path` answers, as JSON. */
export async function read(path) {
  const answer = await ask(path, { signal: AbortSignal.timeout(10_000) });
  return answer.json();
}

/** What `path` answers where it changed since `etag`, as { value, etag }; else null. */
export async function readChanged(path, etag) {
  const headers = etag ? { "if-none-match": etag } : {};
  const answer = await ask(path, { headers, cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (answer.status === 304) return null;
  return { value: await answer.json(), etag: answer.headers.get("etag") };
}

/** Ends the session. */
export async function signOut() {
  await ask("/logout", { method: "POST" });
}

/** The events of a reply, as they come: `start`, `delta` …, `finish`. Aborting `signal` stops the reply. */
export async function* reply(messages, release, signal) {
  const answer = await ask("/api/chat", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ messages, release }),
    signal,
  });
  let finished = false;
  for await (const event of events(answer.body)) {
    if (event.error) throw new Problem(500, event.error.message);
    finished = event.type === "finish";
    yield event;
  }
  if (!finished) throw new Problem(0, GONE);
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { ...options, redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, GONE);
  }
  if (answer.ok || answer.status === 304) return answer;
  const body = await answer.json().catch(() => null);
  throw new Problem(answer.status, body?.error?.message ?? `The server answered with ${answer.status}.`);
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (buffer + value).split("\n\n");
      buffer = lines.pop();
      for (const line of lines) yield JSON.parse(line.replace(/^data: /, ""));
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, GONE);
  } finally {
    reader.cancel().catch(() => {});
  }
}
