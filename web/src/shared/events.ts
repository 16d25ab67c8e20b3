// Server-sent events that bear a lost connection: the reader comes back where it was.

import { connection, Problem, request } from "./api";

const STEP_MS = 500;
const LONGEST_WAIT_MS = 8_000;
const SILENCE_MS = 40_000; // the server says something every 15 s

export type Numbered<E> = { id: number; event: E };

/** The events of `path` after number `after`, in order and each once, until `isLast` says so of one.
 * A lost connection is taken up again after the last event that came. Raises `Problem` where the server refuses. */
export async function* events<E>(
  path: string,
  { after, isLast, signal }: { after: number; isLast: (event: E) => boolean; signal: AbortSignal },
): AsyncGenerator<Numbered<E>> {
  let [last, failures] = [after, 0];
  for (;;) {
    try {
      for await (const numbered of once<E>(path, last, signal)) {
        if (numbered.id <= last) continue;
        [last, failures] = [numbered.id, 0];
        yield numbered;
        if (isLast(numbered.event)) return;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Problem) || (error.status > 0 && error.status < 500 && error.status !== 429)) throw error;
    }
    await pause(Math.min(LONGEST_WAIT_MS, STEP_MS * 2 ** failures), signal);
    failures += 1;
  }
}

/** The events of one connection, until it ends, however it ends. */
async function* once<E>(path: string, after: number, signal: AbortSignal): AsyncGenerator<Numbered<E>> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  const headers: Record<string, string> = { accept: "text/event-stream" };
  if (after > 0) headers["last-event-id"] = String(after);
  try {
    const answer = await request(path, { headers, signal: AbortSignal.any([signal, silence.signal]) });
    if (answer.status === 204) throw new Problem(410, "There is nothing more of this.");
    const reader = (answer.body as ReadableStream<Uint8Array<ArrayBuffer>>)
      .pipeThrough(new TextDecoderStream())
      .getReader();
    let buffer = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      const blocks = (buffer + value).split(/\r?\n\r?\n/);
      buffer = blocks.pop() ?? "";
      for (const block of blocks) {
        const numbered = parsed<E>(block);
        if (numbered) yield numbered;
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof Problem) throw error;
    connection.set("gone");
    throw new Problem(0, "The connection broke off.");
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** An event of its lines; null where there is no data, as in a ping. */
function parsed<E>(block: string): Numbered<E> | null {
  let [id, data] = [-1, ""];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("id:")) id = Number(line.slice(3).trim());
    if (line.startsWith("data:")) data += line.slice(5).trimStart();
  }
  return data ? { id, event: JSON.parse(data) as E } : null;
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
  });
}
