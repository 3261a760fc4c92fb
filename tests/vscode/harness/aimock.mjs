// aimock, an OpenAI-compatible server that is not ours, as a process.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { freePort } from "./codeServer.mjs";
import { until } from "./wait.mjs";

/** Between two pieces of an answer: long enough that a page that waits for the end is told from one that streams. */
const LATENCY_MS = "40";
const PIECE_CHARACTERS = "6";

export class Aimock {
  /** `replies`: what is said to which message. */
  constructor(root, environment, replies) {
    this.environment = environment;
    this.fixtures = join(root, "aimock.json");
    const fixtures = Object.entries(replies).map(([userMessage, content]) => ({ match: { userMessage }, response: { content } }));
    writeFileSync(this.fixtures, JSON.stringify({ fixtures }));
  }

  async start() {
    this.port = await freePort();
    const program = join(process.env.VSCODE_MODULES, "node_modules/.bin/llmock");
    const words = ["-p", `${this.port}`, "-f", this.fixtures, "-l", LATENCY_MS, "-c", PIECE_CHARACTERS, "--strict", "--validate-on-load", "--log-level", "warn"];
    this.process = spawn(process.execPath, [program, ...words], { env: this.environment, stdio: ["ignore", "ignore", "inherit"] });
    await until("aimock to answer", async () => (await fetch(`http://127.0.0.1:${this.port}/health`)).ok);
    return this;
  }

  async stop() {
    if (!this.process || this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exit = once(this.process, "exit");
    this.process.kill("SIGTERM");
    await exit;
  }

  settings(api) {
    return { "midplane.provider": "openai", "midplane.baseUrl": `http://127.0.0.1:${this.port}/v1`, "midplane.model": `aimock-${api}`, "midplane.api": api };
  }

  /** The paths that were asked for. */
  async asked() {
    const entries = await (await fetch(`http://127.0.0.1:${this.port}/__aimock/journal`)).json();
    return entries.map(({ path }) => path).filter((path) => path.startsWith("/v1/"));
  }
}
