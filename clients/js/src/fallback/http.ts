// One HTTP exchange with the gateway: JSON in, a problem or an event stream out.

import { AckwireError } from "../errors.js";
import type { Problem } from "../errors.js";
import type { Target } from "../types.js";

/** A server's answer that is not what was asked for. */
export async function refusal(response: Response): Promise<AckwireError> {
  let problem: Problem | undefined;
  try {
    const body = JSON.parse(await response.text()) as Problem | null;
    if (typeof body?.code === "string") problem = body;
  } catch {
    // A proxy's page, or nothing.
  }
  const { status } = response;
  return new AckwireError(
    problem
      ? { ...problem, status }
      : {
          code: `http_${status}`,
          detail: `the server, or a proxy before it, answered with HTTP status ${status}`,
          status,
          retryable: status === 408 || status === 429 || status >= 500,
        },
  );
}

/** Sends a request with a JSON body. It rejects with a TypeError where no answer came. */
export function post(
  target: Target, token: string | undefined, path: string, body: string, signal: AbortSignal,
  headers?: Record<string, string>,
): Promise<Response> {
  const { fetch } = target; // which is no method of the target
  return fetch(target.base + path + target.query, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(token ? { Authorization: `Bearer ${token}` } : undefined),
      ...headers,
    },
    body,
    signal,
    cache: "no-store",
    credentials: "omit",
  });
}

/** The data of the events in a whole stream. */
export function eventData(stream: string): string[] {
  return stream.split("\n").flatMap((line) => (line.startsWith("data:") ? [line.slice(line[5] === " " ? 6 : 5)] : []));
}

/**
 * Reads the data of a server-sent event stream (WHATWG HTML §9.2.6), whose lines Ackwire ends with a line feed.
 * `heard` is called for each chunk, comments included. Resolves at the stream's end.
 */
export async function readEvents(body: ReadableStream<Uint8Array>, heard: () => void, data: (text: string) => void) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest: string[] = []; // the beginning of a line, in chunks: joined once, however long it is
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const text = decoder.decode(value, { stream: true });
    const lines = text.split("\n");
    rest.push(lines[0]!);
    if (lines.length === 1) continue;
    lines[0] = rest.join("");
    rest = [lines.pop()!];
    for (const of of eventData(lines.join("\n"))) data(of);
  }
}
