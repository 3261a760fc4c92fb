/**
 * An answer as this runtime's own `Response`, so that `instanceof` holds for whoever gets it.
 *
 * The answer is undici's. A `Response` made of its body lacks what no constructor takes: the URL, and whether it was redirected.
 */

import type { Response as UndiciResponse } from "undici";

/** These have no body, and `Response` refuses one (Fetch standard, "null body status"). */
const WITHOUT_BODY: readonly number[] = [101, 204, 205, 304];

/** undici cancels the body of an answer that nobody holds: it is held for as long as what was made of it. */
const answers = new WeakMap<Response, UndiciResponse>();

export function toResponse(answer: UndiciResponse): Response {
  const body = WITHOUT_BODY.includes(answer.status) ? null : (answer.body as ReadableStream<Uint8Array> | null);
  const { status, statusText } = answer;
  return completed(new Response(body, { status, statusText, headers: [...answer.headers] }), answer);
}

function completed(response: Response, answer: UndiciResponse): Response {
  answers.set(response, answer);
  return Object.defineProperties(response, {
    url: { value: answer.url },
    redirected: { value: answer.redirected },
    type: { value: answer.type },
    clone: { value: () => completed(Response.prototype.clone.call(response), answer) },
  });
}
