/** Opens a bridge on the socket of a kernel that runs already: `GET /bridge` with `Upgrade: jsonrpc`. */

import { type IncomingMessage, request } from "node:http";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";

import { MidplaneError, fromProblem, isProblem, systemCode } from "../errors.js";
import { checkSocketPath } from "../socket_path.js";

/** From connecting to 101; the kernel is on this machine. */
const UPGRADE_MS = 10_000;

/** Rejects with a {@link MidplaneError}, or with the signal's reason. */
export async function upgrade(socketPath: string, hostKey: string, signal: AbortSignal): Promise<Duplex> {
  checkSocketPath(socketPath);
  const late = AbortSignal.timeout(UPGRADE_MS);
  try {
    return await dial(socketPath, hostKey, AbortSignal.any([signal, late]));
  } catch (thrown) {
    signal.throwIfAborted();
    if (thrown instanceof MidplaneError) {
      throw thrown;
    }
    const what = late.aborted ? `did not answer within ${UPGRADE_MS} ms` : `does not answer (${systemCode(thrown) ?? "no answer"})`;
    throw new MidplaneError("kernel_unreachable", `the kernel on ${socketPath} ${what}`, { hint: "is it running? `midplane status`" });
  }
}

function dial(socketPath: string, hostKey: string, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const outgoing = request({
      socketPath,
      path: "/bridge",
      // A connection of its own.
      agent: false,
      signal,
      headers: { host: "localhost", authorization: `Bearer ${hostKey}`, connection: "Upgrade", upgrade: "jsonrpc" },
    });
    outgoing.once("upgrade", (_response: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (head.length > 0) {
        socket.unshift(head);
      }
      resolve(socket);
    });
    outgoing.once("response", (response: IncomingMessage) => {
      void refused(response).then(reject, reject);
    });
    outgoing.once("error", reject);
    outgoing.end();
  });
}

async function refused(response: IncomingMessage): Promise<MidplaneError> {
  const body = parsed(await text(response));
  if (isProblem(body)) {
    return fromProblem(body);
  }
  return new MidplaneError("kernel_unreachable", `the kernel answered ${response.statusCode} to GET /bridge`, {
    hint: "it may be older than this package",
  });
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
