/** Answers the kernel's questions for secrets from whatever the caller gave. */

import { CancellationToken, ResponseError } from "vscode-jsonrpc/node";

import { MidplaneError } from "../errors.js";
import type { SecretCallback, SecretStore } from "../options.js";
import { ErrorCode, type SecretGetParams, type SecretGetResult } from "../protocol.js";

/** What the kernel asks of one host at a time, as the bridge's contract has it. */
const IN_FLIGHT_MAX = 64;

export class SecretAnswers {
  readonly #ask: SecretCallback;
  #inFlight = 0;

  constructor(source: SecretStore | SecretCallback) {
    this.#ask = typeof source === "function" ? source : ({ secretKeyId }) => source.get(secretKeyId);
  }

  /** Throws what JSON-RPC sends as an error; its message is fit for a person and holds nothing of a secret. */
  async answer(params: unknown, cancelled: CancellationToken): Promise<SecretGetResult> {
    const asked = check(params);
    if (this.#inFlight >= IN_FLIGHT_MAX) {
      throw new ResponseError(ErrorCode.InternalError, "too many secrets are asked for at a time");
    }
    this.#inFlight += 1;
    const abort = new AbortController();
    const listening = cancelled.onCancellationRequested(() => abort.abort());
    try {
      const secret = await this.#ask({
        secretKeyId: asked.secret_key_id,
        environment: asked.environment,
        sessionId: asked.session_id,
        module: asked.module,
        signal: abort.signal,
      });
      if (secret === undefined) {
        throw new ResponseError(ErrorCode.SecretNotFound, `there is no secret ${JSON.stringify(asked.secret_key_id)}; set it first`);
      }
      if (typeof secret !== "string") {
        throw new ResponseError(ErrorCode.InternalError, "the host's source of secrets answered with something else than a text");
      }
      return { secret };
    } catch (thrown) {
      throw refusal(thrown);
    } finally {
      listening.dispose();
      this.#inFlight -= 1;
    }
  }
}

function refusal(thrown: unknown): ResponseError<void> {
  if (thrown instanceof ResponseError) {
    return thrown;
  }
  if (thrown instanceof MidplaneError && thrown.code === "secret_denied") {
    return new ResponseError(ErrorCode.SecretDenied, thrown.message);
  }
  if (thrown instanceof MidplaneError && thrown.code === "secret_not_found") {
    return new ResponseError(ErrorCode.SecretNotFound, thrown.message);
  }
  // Whoever threw this did not know that others would read it.
  return new ResponseError(ErrorCode.InternalError, "the host could not read the secret");
}

function check(params: unknown): SecretGetParams {
  if (
    typeof params === "object" &&
    params !== null &&
    "secret_key_id" in params &&
    typeof params.secret_key_id === "string" &&
    "environment" in params &&
    typeof params.environment === "string" &&
    "session_id" in params &&
    typeof params.session_id === "string"
  ) {
    const module = "module" in params && typeof params.module === "string" ? params.module : null;
    return { secret_key_id: params.secret_key_id, environment: params.environment, session_id: params.session_id, module };
  }
  throw new ResponseError(ErrorCode.InvalidParams, "secret/get needs secret_key_id, environment and session_id");
}
