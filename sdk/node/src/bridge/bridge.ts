/**
 * One bridge to one kernel: JSON-RPC 2.0 on a stream, from `ready` to its end. Does not know how the stream came to be, nor what
 * becomes of it.
 */

import type { Duplex } from "node:stream";

import {
  CancellationTokenSource,
  ErrorCodes,
  type MessageConnection,
  RequestType,
  ResponseError,
  StreamMessageWriter,
  createMessageConnection,
} from "vscode-jsonrpc/node";

import { within } from "../deadline.js";
import { MidplaneError, fromRpc, messageOf } from "../errors.js";
import type { ClientIdentity } from "../options.js";
import { type InitializeParams, type InitializeResult, type KernelEvent, type LogLevel, PROTOCOL, type Ready } from "../protocol.js";
import { InFlight } from "./in_flight.js";
import { BoundedMessageReader } from "./reader.js";
import { eventOf, type LogRecord, logRecordOf } from "./records.js";
import type { SecretAnswers } from "./secrets.js";

/** Loading a module takes its `init_timeout`, 30 s by default, and a trial before that. */
const REQUEST_MS = 120_000;
/** The kernel refuses the 65th. Its workers answer no faster for it, and their queues are shorter than that. */
const IN_FLIGHT_MAX = 16;

export interface BridgeHost {
  readonly client: ClientIdentity & { readonly instance: string };
  readonly log: LogLevel | null;
  readonly secrets: SecretAnswers | undefined;
  readonly onEvent: (event: KernelEvent) => void;
  readonly onLog: (record: LogRecord) => void;
}

export interface RequestOptions {
  /** Default 120,000. */
  readonly timeoutMs?: number;
}

export class Bridge {
  readonly #connection: MessageConnection;
  readonly #inFlight = new InFlight(IN_FLIGHT_MAX);
  /** Resolves with why, once the bridge has ended, whoever ended it. */
  readonly ended: Promise<MidplaneError>;
  readonly #end: (why: MidplaneError) => void;

  private constructor(stream: Duplex, host: BridgeHost) {
    const { promise, resolve } = promiseWithResolver<MidplaneError>();
    this.ended = promise;
    const connection = createMessageConnection(new BoundedMessageReader(stream), new StreamMessageWriter(stream), silent);
    this.#connection = connection;
    this.#end = (why) => {
      resolve(why);
      // Rejects what waits for an answer.
      connection.dispose();
      stream.destroy();
    };
    connection.onClose(() => this.#end(new MidplaneError("bridge_closed", "the kernel closed the bridge")));
    connection.onError(([thrown]) => {
      this.#end(thrown instanceof MidplaneError ? thrown : new MidplaneError("bridge_closed", "the bridge broke"));
    });
    connection.onNotification("event", (params: unknown) => tell(eventOf(params), host.onEvent));
    connection.onNotification("log", (params: unknown) => tell(logRecordOf(params), host.onLog));
    if (host.secrets !== undefined) {
      const { secrets } = host;
      connection.onRequest("secret/get", (params: unknown, cancelled) => secrets.answer(params, cancelled));
    }
  }

  /** Waits for `ready`, compares protocols and introduces the host. The stream is destroyed when that fails. */
  static async open(stream: Duplex, host: BridgeHost, timeoutMs: number): Promise<{ readonly bridge: Bridge; readonly ready: Ready }> {
    const bridge = new Bridge(stream, host);
    try {
      const late = () => new MidplaneError("start_timeout", `the kernel was not ready within ${timeoutMs} ms`);
      const ready = await within(bridge.#begin(host), timeoutMs, late);
      return { bridge, ready };
    } catch (thrown) {
      bridge.close();
      throw thrown;
    }
  }

  /** Rejects with a {@link MidplaneError}; waits its turn while sixteen others are in flight. */
  async request<Result>(method: string, params: object, options: RequestOptions = {}): Promise<Result> {
    const timeoutMs = options.timeoutMs ?? REQUEST_MS;
    const late = () => new MidplaneError("bridge_timeout", `${method}: the kernel did not answer within ${timeoutMs} ms`);
    const cancel = new CancellationTokenSource();
    try {
      // The time in the queue counts.
      return await within(
        this.#inFlight.run(() => this.#send<Result>(method, params, cancel)),
        timeoutMs,
        late,
      );
    } catch (thrown) {
      // The kernel need not answer any more: it has, or nobody waits.
      cancel.cancel();
      throw thrown;
    } finally {
      cancel.dispose();
    }
  }

  /**
   * Whether the kernel is still at the other end: false when the bridge ends before there was an answer. Any answer will do, and one
   * that takes longer than this may yet come. It waits for no other's turn: those may be waiting for what will never come.
   */
  async responds(timeoutMs: number): Promise<boolean> {
    const late = () => new MidplaneError("bridge_timeout", `the kernel said nothing for ${timeoutMs} ms`);
    const cancel = new CancellationTokenSource();
    try {
      await within(this.#send("module/list", {}, cancel), timeoutMs, late);
      return true;
    } catch (thrown) {
      cancel.cancel();
      return !(thrown instanceof MidplaneError && thrown.code === "bridge_closed");
    } finally {
      cancel.dispose();
    }
  }

  close(): void {
    this.#end(new MidplaneError("bridge_closed", "the bridge was closed"));
  }

  async #send<Result>(method: string, params: object, cancel: CancellationTokenSource): Promise<Result> {
    if (cancel.token.isCancellationRequested) {
      throw new MidplaneError("bridge_timeout", `${method}: it was not sent in time`);
    }
    try {
      return await this.#connection.sendRequest(new RequestType<object, Result, unknown>(method), params, cancel.token);
    } catch (thrown) {
      if (!(thrown instanceof ResponseError)) {
        throw thrown instanceof MidplaneError ? thrown : new MidplaneError("bridge_closed", `${method}: ${messageOf(thrown)}`);
      }
      if (thrown.code === ErrorCodes.PendingResponseRejected) {
        throw new MidplaneError("bridge_closed", `${method}: the bridge was closed`);
      }
      throw fromRpc(method, thrown);
    }
  }

  async #begin(host: BridgeHost): Promise<Ready> {
    const ready = new Promise<Ready>((resolve, reject) => {
      this.#connection.onNotification("ready", (params: unknown) => {
        if (isReady(params)) {
          resolve(params);
        } else {
          reject(new MidplaneError("bridge_invalid", "the kernel's `ready` lacks something"));
        }
      });
    });
    this.#connection.listen();
    const ended = this.ended.then((why) => {
      throw why;
    });
    const said = await Promise.race([ready, ended]);
    checkProtocol(said);
    const params: InitializeParams = {
      client: host.client,
      protocol: PROTOCOL,
      capabilities: { secrets: host.secrets !== undefined, events: true, log: host.log },
    };
    await this.request<InitializeResult>("initialize", params);
    return said;
  }
}

function checkProtocol(ready: Ready): void {
  if (ready.protocol !== PROTOCOL) {
    const newer = ready.protocol > PROTOCOL;
    throw new MidplaneError(
      "protocol_mismatch",
      `the kernel (${ready.version}) speaks protocol ${ready.protocol}, and @midplane/host speaks ${PROTOCOL}`,
      { hint: newer ? "update @midplane/host" : "update the kernel" },
    );
  }
}

function isReady(params: unknown): params is Ready {
  const texts = ["version", "instance", "socket", "host_key"];
  const numbers = ["protocol", "pid"];
  if (typeof params !== "object" || params === null) {
    return false;
  }
  const members = new Map<string, unknown>(Object.entries(params));
  return (
    texts.every((name) => typeof members.get(name) === "string") && numbers.every((name) => Number.isSafeInteger(members.get(name)))
  );
}

/** What is not understood is passed over: a newer kernel may tell more. */
function tell<T>(told: T | undefined, listener: (told: T) => void): void {
  if (told !== undefined) {
    listener(told);
  }
}

/** The library would write messages to the console, with what is in them. */
const silent = { error: ignore, warn: ignore, info: ignore, log: ignore };

function ignore(): void {
  // Errors arrive as events.
}

function promiseWithResolver<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = ignore;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
