// This window's kernel: started with the chat module, followed in its states, given one session, and changed when the
// settings change. Holds no key: the kernel fetches it from the secret storage.

import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";

import { MidplaneError, startKernel, type Kernel, type LogLevel, type LogRecord, type Session } from "@midplane/host";
import * as vscode from "vscode";

import { messageOf, problemResponse } from "./failures";
import { KEY_ID, type ApiKey } from "./key";
import type { KernelStatus } from "./messages";
import { effectOf, moduleConfig, needsKey, type Settings } from "./settings";
import { inSettings } from "./words";

const MODULE = "chat";
/** Keeps what the chat module has to remember, for every window of the user. */
const STORE = "store";

export interface RunningModule {
  name: string;
  version: string;
  generation: number;
  state: string;
}

export class ChatKernel {
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly keyChanges: vscode.Disposable;
  private kernel: Kernel | undefined;
  private session: Promise<Session> | undefined;
  private current: KernelStatus = { state: "starting" };
  private running: RunningModule[] = [];
  /** Starts, stops and reloads, one after another. */
  private queue: Promise<void> = Promise.resolve();
  private disposed = false;

  /** The status, the modules or the settings are other ones. */
  readonly onDidChange = this.changed.event;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly key: ApiKey,
    private wanted: Settings,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.keyChanges = key.onDidChange(() => {
      // A key that was replaced is asked for again by the session itself. One that was forgotten ends what was on it.
      if (key.isPresent === false && needsKey(this.wanted)) this.endSession();
    });
  }

  get status(): KernelStatus {
    return this.current;
  }

  get version(): string {
    return this.kernel?.version ?? "";
  }

  get modules(): readonly RunningModule[] {
    return this.running;
  }

  get settings(): Settings {
    return this.wanted;
  }

  start(): void {
    void this.inTurn(() => this.startNow());
  }

  restart(): Promise<void> {
    return this.inTurn(async () => {
      await this.stopNow();
      await this.startNow();
    });
  }

  /** Swaps the module for what is at its path now; returns what to tell the user. */
  async reload(name: string): Promise<string> {
    if (!this.kernel) throw new Error("the kernel is not running");
    const receipt = await this.kernel.modules.reload(name);
    await this.look();
    return `${name} was reloaded: generation ${receipt.to?.generation ?? "?"} serves now`;
  }

  /** What runs becomes what the settings say; conversations under way finish as they began where that is possible. */
  apply(settings: Settings): Promise<void> {
    return this.inTurn(async () => {
      const before = this.wanted;
      const effect = this.kernel ? effectOf(before, settings) : "restart";
      this.wanted = settings;
      if (effect === "none") return;
      if (effect === "restart") {
        await this.stopNow();
        return this.startNow();
      }
      try {
        await this.kernel?.modules.reload(MODULE, { config: moduleConfig(settings) });
        // The next request gets a session of its own. The old one is left to expire: revoked, it would cut an answer under way.
        this.session = undefined;
        await this.look();
      } catch (error) {
        // The module goes on as it was, so what is shown must say so.
        this.wanted = before;
        this.changed.fire();
        void this.complain(`The settings do not work: ${inSettings(messageOf(error))}`);
      }
    });
  }

  /** A session's fetch: a session is made when there is none, and once more when the kernel no longer knows it. */
  readonly fetch: typeof globalThis.fetch = async (input, init) => {
    try {
      const response = await (await this.openSession()).fetch(input, init);
      if (response.status !== 401) return response;
      this.session = undefined;
      return await (await this.openSession()).fetch(input, init);
    } catch (error) {
      if (init?.signal?.aborted) throw error;
      if (!(error instanceof MidplaneError)) throw error;
      this.session = undefined;
      return problemResponse(error);
    }
  };

  async dispose(): Promise<void> {
    this.disposed = true;
    this.keyChanges.dispose();
    await this.stopNow();
    this.changed.dispose();
  }

  private async startNow(): Promise<void> {
    if (this.disposed) return;
    this.become({ state: "starting" });
    const { wanted, context } = this;
    try {
      const places = await this.prepare();
      const kernel = await startKernel({
        ...places.binary,
        modules: {
          [STORE]: { path: places.store, isolation: wanted.isolation },
          [MODULE]: { path: places.module, config: moduleConfig(wanted), isolation: wanted.isolation },
        },
        // Every window has its own kernel; what they keep is the user's, and so shared.
        dataDir: places.data,
        secrets: this.key.secrets,
        client: { name: "midplane-chat", version: String(context.extension.packageJSON.version) },
        log: wanted.logLevel,
        onLog: (record) => this.write(record),
      });
      if (this.disposed) return void (await kernel.dispose());
      this.kernel = kernel;
      kernel.onState((state, why) => this.onState(kernel, state, why));
      kernel.onEvent(({ type }) => {
        if (type.startsWith("module.")) void this.look();
      });
      this.log.info(`kernel ${kernel.version}, process ${kernel.pid}, ${kernel.socketPath}`);
      await this.look();
      this.become({ state: "ready" });
    } catch (error) {
      this.fail(error);
    }
  }

  private async stopNow(): Promise<void> {
    const kernel = this.kernel;
    this.kernel = undefined;
    this.session = undefined;
    this.running = [];
    await kernel?.dispose();
  }

  /** Where the package has the kernel and the modules. An unpacked package may have lost the modes the kernel asks for. */
  private async prepare() {
    const at = (...parts: string[]) => this.context.asAbsolutePath(join(...parts));
    const data = this.context.globalStorageUri.fsPath;
    await mkdir(data, { recursive: true, mode: 0o700 });
    const suffix = process.platform === "darwin" ? "dylib" : "so";
    const binary = at("bin", "midplane");
    const [module, store] = [MODULE, STORE].map((name) => at("modules", `libmidplane_${name}.${suffix}`)) as [string, string];
    try {
      await chmod(at("modules"), 0o755);
      await Promise.all([binary, module, store].map((file) => chmod(file, 0o755)));
    } catch (error) {
      // Not ours to change, so not open to others either; or missing, which the start says better.
      this.log.debug(`modes are left as they are: ${messageOf(error)}`);
    }
    return { binary: process.env["MIDPLANE_BINARY"] ? {} : { binary }, module, store, data };
  }

  private onState(kernel: Kernel, state: Kernel["state"], why?: MidplaneError): void {
    if (kernel !== this.kernel) return;
    this.log.info(why ? `the kernel is ${state}: ${why.message}` : `the kernel is ${state}`);
    if (state === "failed") return this.fail(why ?? new Error("the kernel ended too often and is not started again"));
    if (state !== "ready") return this.become({ state });
    void this.look().then(() => this.become({ state: "ready" }));
  }

  private openSession(): Promise<Session> {
    if (this.session) return this.session;
    const kernel = this.kernel;
    if (!kernel) return Promise.reject(new MidplaneError("kernel_failed", "the kernel is not running"));
    const secret = needsKey(this.wanted) ? { secretKeyId: KEY_ID } : {};
    const session = kernel.createSession({ ...secret, modules: [MODULE] });
    this.session = session;
    session.catch(() => {
      if (this.session === session) this.session = undefined;
    });
    return session;
  }

  private endSession(): void {
    const session = this.session;
    this.session = undefined;
    session?.then((session) => session.revoke()).catch((error: unknown) => this.log.debug(messageOf(error)));
  }

  /** The modules as they are now. */
  private async look(): Promise<void> {
    try {
      const { modules } = (await this.kernel?.modules.list()) ?? { modules: [] };
      this.running = modules.map(({ name, version, generation, state }) => ({ name, version, generation, state }));
      this.changed.fire();
    } catch (error) {
      this.log.debug(`the modules are not known: ${messageOf(error)}`);
    }
  }

  private become(status: KernelStatus): void {
    this.current = status;
    this.changed.fire();
  }

  private fail(error: unknown): void {
    const hint = error instanceof MidplaneError ? error.hint : undefined;
    this.log.error(hint ? `${messageOf(error)}: ${hint}` : messageOf(error));
    this.running = [];
    this.become({ state: "failed", reason: inSettings(messageOf(error)), ...(hint ? { hint } : {}) });
  }

  private async complain(message: string): Promise<void> {
    this.log.warn(message);
    const open = "Open Settings";
    const answer = await vscode.window.showErrorMessage(`Midplane: ${message}`, open);
    if (answer === open) await vscode.commands.executeCommand("midplane.openSettings");
  }

  private write({ level, target, message, fields }: LogRecord): void {
    const values = Object.entries(fields).map(([name, value]) => ` ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
    this.log[level.toLowerCase() as LogLevel](`${target}: ${message}${values.join("")}`);
  }

  private inTurn(step: () => Promise<void>): Promise<void> {
    this.queue = this.queue.then(step).catch((error: unknown) => this.fail(error));
    return this.queue;
  }
}
