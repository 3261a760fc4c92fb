// The page in a real browser, in a theme of VS Code's, with a backend that the test scripts. The variables' values in
// themes.json are those that VS Code 1.139 gives a webview in its default themes.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

import { chromium, type Browser, type Page } from "playwright-core";

import type { FromPage, Status, ToPage } from "../src/messages";
import type { Event } from "../webview/chatkit";

interface Theme {
  class: string;
  variables: Record<string, string>;
}

export const THEMES = JSON.parse(readFileSync("test/themes.json", "utf8")) as Record<string, Theme>;

export const READY: Status = {
  kernel: { state: "ready" },
  provider: "openai",
  model: "gpt-4.1-mini",
  host: "",
  key: "present",
};

/** What the page asked, and how it is answered: an object for JSON, `"stream"` for events that the test emits. */
export type Answer = object | "stream" | { refuse: number; problem: object };
export type Answers = Record<string, Answer>;

export async function launch(): Promise<Browser> {
  const quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-component-update", "--disable-sync", ...quiet],
  });
}

interface Options {
  theme?: string;
  status?: Status | null;
  answers?: Answers;
  width?: number;
  height?: number;
  kept?: object;
  forcedColors?: "active" | "none";
}

export class ChatPage {
  private constructor(
    readonly page: Page,
    private readonly complaints: string[],
  ) {}

  static async open(browser: Browser, options: Options = {}): Promise<ChatPage> {
    const { width = 340, height = 640, answers = {}, status = READY } = options;
    const theme = THEMES[options.theme ?? "dark"];
    if (!theme) throw new Error(`there is no theme ${options.theme}`);
    const page = await browser.newPage({
      viewport: { width, height },
      reducedMotion: "reduce",
      forcedColors: options.forcedColors ?? "none",
    });
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      // Also what the content security policy kept from loading.
      if (message.type() === "error") complaints.push(message.text());
    });
    await page.addInitScript(host, { theme, answers, kept: options.kept ?? null });
    await page.goto(pathToFileURL("dist/dev/index.html").href);
    const chat = new ChatPage(page, complaints);
    if (status) await chat.tell({ type: "status", status });
    return chat;
  }

  /** As the extension would; until the page shows what it was told. */
  async tell(message: ToPage): Promise<void> {
    await this.page.evaluate(async (message) => {
      const told = new Promise((resolve) => window.addEventListener("message", resolve, { once: true }));
      window.postMessage(message, "*");
      await told;
      await window.scripted.settled();
    }, message);
  }

  /** Of the turn that began last. */
  async emit(...events: Event[]): Promise<void> {
    await this.page.evaluate(async (events) => {
      for (const event of events) window.scripted.emit(`data: ${JSON.stringify(event)}\n\n`);
      await window.scripted.settled();
    }, events);
  }

  async end(): Promise<void> {
    await this.page.evaluate(() => {
      window.scripted.end();
      return window.scripted.settled();
    });
  }

  /** Answers from now on. */
  answer(answers: Answers): Promise<void> {
    return this.page.evaluate((answers) => void Object.assign(window.scripted.answers, answers), answers);
  }

  posted(): Promise<FromPage[]> {
    return this.page.evaluate(() => window.scripted.posted);
  }

  requests(): Promise<{ type: string; params: Record<string, unknown> }[]> {
    return this.page.evaluate(() => window.scripted.requests);
  }

  /** The newest request, once it is of this type: the page sends some only after it has drawn. */
  async requested(type: string): Promise<{ type: string; params: Record<string, unknown> }> {
    await this.page.waitForFunction((type) => window.scripted.requests.at(-1)?.type === type, type);
    const newest = (await this.requests()).at(-1);
    if (!newest) throw new Error("the page takes a request back");
    return newest;
  }

  /** Once the request of the turn that began last is aborted. */
  async aborted(): Promise<void> {
    await this.page.waitForFunction(() => window.scripted.aborted);
  }

  async say(text: string): Promise<void> {
    await this.page.getByRole("textbox", { name: "Message" }).fill(text);
    await this.page.keyboard.press("Enter");
    await this.page.waitForFunction(() => document.querySelector("[aria-label=Stop]") !== null);
  }

  /** Throws what the page complained of. */
  async close(): Promise<void> {
    await this.page.close();
    if (this.complaints.length > 0) throw new Error(this.complaints.join("\n"));
  }
}

interface Scripted {
  answers: Answers;
  posted: FromPage[];
  requests: { type: string; params: Record<string, unknown> }[];
  aborted: boolean;
  emit(text: string): void;
  end(): void;
  settled(): Promise<void>;
}

declare global {
  interface Window {
    scripted: Scripted;
  }
}

/** Runs in the page before its script: what VS Code and the extension would be. */
function host({ theme, answers, kept }: { theme: Theme; answers: Answers; kept: object | null }): void {
  let state: unknown = kept;
  let stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  const encoder = new TextEncoder();
  const json = (body: object, status = 200) => new Response(JSON.stringify(body), { status });
  const scripted: Scripted = {
    answers,
    posted: [],
    requests: [],
    aborted: false,
    emit: (text) => {
      if (!stream) throw new Error("no turn has begun: wait until it has been asked for");
      stream.enqueue(encoder.encode(text));
    },
    end: () => stream?.close(),
    // The bytes pass several streams, and then a frame is drawn.
    settled: async () => {
      for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setTimeout(resolve));
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    },
  };
  const backend = async (_: string, init: RequestInit): Promise<Response> => {
    const request = JSON.parse(String(init.body)) as Scripted["requests"][number];
    scripted.requests.push(request);
    const answer = scripted.answers[request.type] ?? "stream";
    if (answer !== "stream" && "refuse" in answer) return json(answer.problem, answer.refuse);
    if (answer !== "stream") return json(answer);
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (stream = controller) });
    init.signal?.addEventListener("abort", () => {
      scripted.aborted = true;
      stream?.error(init.signal?.reason);
    });
    return new Response(body);
  };
  Object.assign(window, {
    scripted,
    backend,
    acquireVsCodeApi: () => ({
      postMessage: (message: FromPage) => scripted.posted.push(message),
      getState: () => state,
      setState: (next: unknown) => void (state = next),
    }),
  });
  const dress = () => {
    for (const [name, value] of Object.entries(theme.variables)) document.documentElement.style.setProperty(name, value);
    document.body.className = theme.class;
  };
  document.addEventListener("DOMContentLoaded", dress);
  // Some before the page's script runs, as VS Code does.
  new MutationObserver((_, observer) => {
    if (!document.body) return;
    observer.disconnect();
    dress();
  }).observe(document, { childList: true, subtree: true });
}
