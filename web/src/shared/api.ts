// What the application asks of the service, typed by its OpenAPI document. Nothing here touches the page.

import type { Routes } from "../api.gen";
import { createStore } from "./store";

/** A refusal or a failure. `message` is a sentence for people; `status` 0 means that nobody answered. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string | null;

  constructor(status: number, message: string, code: string | null = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export type Connection = "ok" | "gone" | "signed-out";

/** How the last request fared: the shell tells people of anything but "ok". */
export const connection = createStore<Connection>("ok");

export type Route = keyof Routes;
export type Answer<R extends Route> = Routes[R]["answer"];

type Part<Name extends string, Value> = [Value] extends [undefined]
  ? unknown
  : Name extends "query"
    ? { query?: Value }
    : { [key in Name]: Value };
export type Asked<R extends Route> = Part<"path", Routes[R]["path"]> &
  Part<"query", Routes[R]["query"]> &
  Part<"body", Routes[R]["body"]> & { signal?: AbortSignal };
type Arguments<R extends Route> = Record<never, never> extends Asked<R> ? [asked?: Asked<R>] : [asked: Asked<R>];

const PATIENCE_MS = 15_000;

/** What `route` answers. Raises `Problem`; an abort by `signal` raises its own `AbortError`. */
export async function call<R extends Route>(route: R, ...[asked]: Arguments<R>): Promise<Answer<R>> {
  const [method, template] = route.split(" ") as [string, string];
  const { path, query, body, signal } = (asked ?? {}) as {
    path?: Record<string, string>;
    query?: Record<string, string | number | boolean | null | undefined>;
    body?: unknown;
    signal?: AbortSignal;
  };
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const answer = await request(address(template, path, query), {
    method,
    signal: signal ? AbortSignal.any([signal, patience]) : patience,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  return (answer.status === 204 ? undefined : await readJson(answer)) as Answer<R>;
}

/** The bare answer of `path` where it is good (or says that nothing changed). Raises as `call` does. */
export async function request(path: string, options: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, { ...options, redirect: "error" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    connection.set("gone");
    throw new Problem(0, "The server does not answer.");
  }
  connection.set(answer.status === 401 ? "signed-out" : "ok");
  if (answer.ok || answer.status === 304) return answer;
  throw await problemOf(answer);
}

/** Fills `{…}` of a path and adds a query; what is undefined or null is left out. */
export function address(
  template: string,
  path: Record<string, string> = {},
  query: Record<string, string | number | boolean | null | undefined> = {},
): string {
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(path[name] ?? ""));
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const search = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return search ? `${filled}?${search}` : filled;
}

async function problemOf(answer: Response): Promise<Problem> {
  const body = (await answer.json().catch(() => null)) as {
    detail?: unknown;
    error?: { message?: unknown; code?: unknown };
  } | null;
  const said = body?.detail ?? body?.error?.message;
  const code = body?.error?.code;
  const message = typeof said === "string" && said ? said : `The server answered with ${answer.status}.`;
  return new Problem(answer.status, message, typeof code === "string" ? code : null);
}

async function readJson(answer: Response): Promise<unknown> {
  try {
    return await answer.json();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    connection.set("gone");
    throw new Problem(0, "The server's answer broke off.");
  }
}
