/** `@midplane/host`: starts, supervises and talks to a Midplane kernel. */

export { attachKernel, startKernel } from "./start.js";
export { MidplaneError, type HostErrorCode, type MidplaneErrorOptions } from "./errors.js";
export type { Kernel } from "./kernel/kernel.js";
export type { KernelState } from "./kernel/supervisor.js";
export type { Disposable } from "./listeners.js";
export type { ModuleLoad, ModuleReload, ModuleUnload, Modules } from "./modules.js";
export type {
  AttachOptions,
  ClientIdentity,
  ModuleOptions,
  RestartOptions,
  SecretCallback,
  SecretRequest,
  SecretStore,
  StartOptions,
} from "./options.js";
export {
  PROTOCOL,
  type Health,
  type JsonObject,
  type JsonValue,
  type KernelEvent,
  type LogLevel,
  type Module,
  type ModuleListResult,
  type Problem,
  type Receipt,
} from "./protocol.js";
export type { LogRecord } from "./bridge/records.js";
export type { Session, SessionOptions } from "./session/session.js";
export type { WebSocket } from "./session/websocket.js";
