// VS Code's calls between a window and its extension host, as far as it takes to name the call that carried a text. Each is a
// binary message on the window's WebSocket (src/vs/workbench/services/extensions/common/rpcProtocol.ts): a type, a request's
// number of four bytes, and for a request the callee, the method's name with its length before it, and JSON.

/** Requests and answers whose contents are JSON, with or without a way to cancel. */
const REQUEST = /[\x01\x02](?<number>[^]{4})[^][^](?<method>\$[A-Za-z]+)[^]{4}/g;
const ANSWER = /\x09(?<number>[^]{4})[^]{4}$/;
/** A message's own bytes before its JSON, and what may stand in the JSON before the text. */
const BEFORE = 400;

/**
 * The names of the calls that carried `text`, one for each time: the method of a request, or "answer to " and the method. What
 * cannot be named is shown as it is.
 */
export function carriers({ sent, received }, text) {
  return [...find(sent, received, text, "window"), ...find(received, sent, text, "extension host")];
}

function find(stream, other, text, speaker) {
  const found = [];
  for (let at = stream.indexOf(text); at >= 0; at = stream.indexOf(text, at + 1)) {
    const before = stream.slice(Math.max(0, at - BEFORE), at);
    found.push(`${speaker}: ${answer(before, other) ?? request(before) ?? `unknown: ${JSON.stringify(before.slice(-120))}`}`);
  }
  return found;
}

/** An answer's JSON is the text alone. */
function answer(before, other) {
  const number = before.endsWith('"') && ANSWER.exec(before.slice(0, -1))?.groups.number;
  if (!number) return null;
  const asked = [...other.matchAll(REQUEST)].findLast(({ groups }) => groups.number === number);
  return asked ? `answer to ${asked.groups.method}` : null;
}

/** A request's JSON is an array that begins right behind its name, and has no other message's start before the text. */
function request(before) {
  const start = [...before.matchAll(REQUEST)].at(-1);
  if (!start) return null;
  const json = before.slice(start.index + start[0].length);
  return json.startsWith("[") && /^[\x20-\x7e]*$/.test(json) ? start.groups.method : null;
}
