// A scene: a directory of its own, a code-server with the extension installed, a browser, and what is started for a test. It
// cleans up whatever happens, and on failure keeps what tells why.

import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import nodeTest from "node:test";

import { startBrowser } from "./browser.mjs";
import { CodeServer } from "./codeServer.mjs";
import { MARK, allOf, describe, gone, kernels } from "./processes.mjs";
import { Record } from "./record.mjs";
import { Window } from "./window.mjs";

/** A whole conversation with several windows fits thrice. */
const TEST_MS = 180_000;

export class Scene {
  /** Sets the stage. `settings` are the extension's. */
  static async set(name, settings = {}) {
    const scene = new Scene(name);
    nodeTest.after(() => scene.strike());
    try {
      scene.server.machineSettings(settings);
      scene.server.install();
      await scene.server.start();
      scene.browser = await startBrowser(scene.root, scene.environment, scene.record);
    } catch (error) {
      await scene.keepEvidence("start");
      throw error;
    }
    return scene;
  }

  constructor(name) {
    this.name = name;
    // Short: the kernel's socket is below it, and a socket's path has at most 107 bytes.
    this.root = mkdtempSync(join(process.env.VSCODE_SCENES ?? tmpdir(), "s"));
    this.results = join(process.env.VSCODE_RESULTS, name);
    this.record = new Record();
    this.windows = [];
    this.companions = [];
    for (const directory of ["home", "tmp", "folders"]) mkdirSync(join(this.root, directory));
    mkdirSync(join(this.root, "run"), { mode: 0o700 });
    this.environment = {
      PATH: process.env.PATH,
      HOME: join(this.root, "home"),
      TMPDIR: join(this.root, "tmp"),
      XDG_RUNTIME_DIR: join(this.root, "run"),
      LANG: "C.UTF-8",
      [MARK]: this.root,
    };
    this.server = new CodeServer(this.root, this.environment);
  }

  /** Something with `stop()` that lives as long as the scene. */
  with(companion) {
    this.companions.push(companion);
    return companion;
  }

  /** Registers a test that keeps evidence when it fails. The tests of a scene are one story: after a failure the rest is not told. */
  test(name, body, options = {}) {
    nodeTest(name, { timeout: TEST_MS, ...options }, async (t) => {
      if (this.failed) throw new Error(`not run, since "${this.failed}" failed`);
      try {
        await body(t);
      } catch (error) {
        this.failed = name;
        await this.keepEvidence(name);
        throw error;
      }
    });
  }

  /** Opens a window on a folder of this name; it is made when it is not there. */
  async window(name = "work") {
    const folder = join(this.root, "folders", name);
    mkdirSync(folder, { recursive: true });
    const window = await Window.open(this.browser, this.server.url, folder);
    this.windows.push(window);
    return window;
  }

  /** Closes the browser and all windows; the profile stays. */
  async closeBrowser() {
    await this.browser?.close();
    this.browser = null;
    this.windows = [];
  }

  async reopenBrowser() {
    this.browser = await startBrowser(this.root, this.environment, this.record);
  }

  kernels() {
    return kernels(this.root);
  }

  /** What a person who was not there needs to see: pictures, logs, processes. */
  async keepEvidence(title) {
    const place = join(this.results, title.replace(/[^a-z0-9]+/gi, "-").slice(0, 60));
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, "processes.txt"), `${describe(allOf(this.root))}\n`);
    for (const [n, page] of (this.browser?.pages() ?? []).entries()) {
      await page.screenshot({ path: join(place, `window-${n + 1}.png`), timeout: 5_000 }).catch(() => {});
      const frames = await Promise.all(page.frames().map((frame) => frame.content().catch(() => "")));
      writeFileSync(join(place, `window-${n + 1}.html`), frames.join("\n<!-- frame -->\n"));
    }
    for (const [from, to] of [[this.server.output, "code-server.log"], [join(this.server.data, "logs"), "logs"]]) {
      if (existsSync(from)) cpSync(from, join(place, to), { recursive: true });
    }
    console.error(`evidence: ${place}`);
  }

  /** Ends everything. The scene's directory goes, too, unless VSCODE_KEEP is set. */
  async strike() {
    await this.closeBrowser().catch(() => {});
    await Promise.allSettled(this.companions.map((companion) => companion.stop()));
    this.server.kill();
    for (const { pid } of allOf(this.root)) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
    await gone("what is left", allOf(this.root).map(({ pid }) => pid));
    if (!process.env.VSCODE_KEEP) rmSync(this.root, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

