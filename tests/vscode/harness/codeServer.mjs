// code-server: VS Code's own server and extension hosts, for a browser. One for each scene, in a process group of its own.

import { spawn, spawnSync } from "node:child_process";
import { createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";

import { until } from "./wait.mjs";

const { VSCODE_NODE, VSCODE_ENTRY, VSCODE_VSIX } = process.env;
/** A window that is closed may come back for hours by default; here it is gone when it is closed. */
const GRACE_S = "1";

/** What has nothing to do with the extension and would only be in the picture's or the network's way. */
const QUIET = {
  "workbench.startupEditor": "none",
  "workbench.tips.enabled": false,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "chat.disableAIFeatures": true,
  "extensions.autoCheckUpdates": false,
  "extensions.autoUpdate": false,
  "extensions.ignoreRecommendations": true,
  "telemetry.telemetryLevel": "off",
  "update.mode": "none",
  "git.enabled": false,
  "npm.fetchOnlinePackageInfo": false,
  "window.menuBarVisibility": "compact",
};

export class CodeServer {
  /** `root` is the scene's directory, `environment` all that the server gets of ours. */
  constructor(root, environment) {
    this.environment = environment;
    this.data = join(root, "data");
    this.extensions = join(root, "extensions");
    this.output = join(root, "code-server.log");
    mkdirSync(join(this.data, "User"), { recursive: true });
    mkdirSync(join(this.data, "Machine"), { recursive: true });
    mkdirSync(this.extensions);
    writeFileSync(join(this.data, "User/settings.json"), JSON.stringify(QUIET, null, 2));
    this.machineSettings({});
  }

  /** The settings of the machine that the extension hosts run on, where those of the scope `machine` stand. Changes are followed. */
  machineSettings(settings) {
    writeFileSync(join(this.data, "Machine/settings.json"), JSON.stringify(settings, null, 2));
  }

  /** Installs the extension as a person would: from its .vsix. */
  install() {
    const { status, stdout, stderr } = spawnSync(VSCODE_NODE, [...this.#command(), "--install-extension", VSCODE_VSIX], {
      env: this.environment,
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`the extension was not installed:\n${stdout}${stderr}`);
  }

  async start() {
    this.port = await freePort();
    const words = [
      ...this.#command(),
      ...["--auth", "none", "--bind-addr", `127.0.0.1:${this.port}`, "--reconnection-grace-time", GRACE_S],
      ...["--disable-telemetry", "--disable-update-check", "--disable-workspace-trust", "--disable-getting-started-override"],
    ];
    this.process = spawn(VSCODE_NODE, words, { env: this.environment, stdio: ["ignore", "pipe", "pipe"], detached: true });
    const log = createWriteStream(this.output, { flags: "a" });
    this.process.stdout.pipe(log, { end: false });
    this.process.stderr.pipe(log, { end: false });
    await until("code-server to answer", async () => (await fetch(`${this.url}/healthz`)).ok);
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Ends it as a service's supervisor does. Extension hosts may live on a little: they have 5 s to deactivate. */
  async terminate() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exit = once(this.process, "exit");
    this.process.kill("SIGTERM");
    await exit;
  }

  /** Ends it and all that it started, at once, whatever state they are in. */
  kill() {
    try {
      if (this.process) process.kill(-this.process.pid, "SIGKILL");
    } catch {
      // The group is empty.
    }
  }

  #command() {
    return [VSCODE_ENTRY, "--user-data-dir", this.data, "--extensions-dir", this.extensions];
  }
}

export async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}
