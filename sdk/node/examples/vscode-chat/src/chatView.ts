// The view in the side bar: its page, what the page may reach, and what it may ask for. Everything a page says is checked
// here as if a stranger said it; it never holds a token or a key.

import { randomBytes } from "node:crypto";

import { relayFetch } from "@midplane/host/webview";
import * as vscode from "vscode";

import { messageOf } from "./failures";
import type { ApiKey } from "./key";
import type { ChatKernel } from "./kernel";
import { PAGE_COMMANDS, type FromPage, type Status, type ToPage } from "./messages";
import { hostOf, modelName, needsKey } from "./settings";
import { Turns } from "./turns";

const ID = "midplane.chat";
/** The one route of the chat module that the page uses. */
const ALLOWED = [{ method: "POST", path: "/api/chat/chatkit" }] as const;
/** Longer than an answer may be (1 MiB). */
const TEXT_CHARS_MAX = 1024 * 1024;
/** Longer than browsers' address bars take. */
const URL_CHARS_MAX = 8 * 1024;
/** As the page's links: nothing that runs something here. */
const LINK_SCHEMES = ["https", "http", "mailto"];

export class ChatView implements vscode.WebviewViewProvider, vscode.Disposable {
  private readonly subscriptions: vscode.Disposable[];
  private readonly turns: Turns;
  private view: vscode.WebviewView | undefined;
  /** What is to be said once a page listens; nothing while one does. */
  private waiting: ToPage[] | undefined = [];

  constructor(
    private readonly extensionUri: vscode.Uri,
    private readonly kernel: ChatKernel,
    private readonly key: ApiKey,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.turns = new Turns(kernel.fetch);
    this.subscriptions = [
      this.turns,
      this.turns.onDidChange(() => this.tellTurns()),
      kernel.onDidChange(() => this.tellStatus()),
      key.onDidChange(() => this.tellStatus()),
      vscode.window.registerWebviewViewProvider(ID, this),
    ];
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    const { webview } = view;
    const root = vscode.Uri.joinPath(this.extensionUri, "dist", "webview");
    this.view = view;
    webview.options = { enableScripts: true, localResourceRoots: [root] };
    const relay = relayFetch(webview, this.turns.fetch, {
      allow: ALLOWED,
      onRefused: ({ code, method, path, detail }) => this.log.warn(`the page was refused ${method} ${path}: ${detail} (${code})`),
      onError: (error, { method, url }) => this.log.warn(`${method} ${url}: ${messageOf(error)}`),
    });
    const messages = webview.onDidReceiveMessage((message: unknown) => this.onMessage(message));
    // A hidden page is ended by VS Code, and begins anew when it is shown.
    const visibility = view.onDidChangeVisibility(() => {
      if (!view.visible) this.waiting = [];
    });
    view.onDidDispose(() => {
      for (const part of [relay, messages, visibility]) part.dispose();
      if (this.view !== view) return;
      this.view = undefined;
      this.waiting = [];
    });
    webview.html = html(webview, root);
  }

  /** Brings the view to the front and tells it something. */
  async show(message: ToPage): Promise<void> {
    const isThere = this.waiting === undefined;
    if (!isThere) this.waiting?.push(message);
    await vscode.commands.executeCommand(`${ID}.focus`);
    if (isThere) await this.view?.webview.postMessage(message);
  }

  dispose(): void {
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  private onMessage(message: unknown): void {
    const request = read(message);
    if (!request) return;
    switch (request.type) {
      case "ready": {
        const missed = this.waiting ?? [];
        this.waiting = undefined;
        this.tellTurns();
        this.tellStatus();
        for (const message of missed) this.tell(message);
        return;
      }
      case "stop":
        return this.turns.stop();
      case "command":
        return void vscode.commands.executeCommand(request.command);
      case "copy":
        return void vscode.env.clipboard.writeText(request.text);
      case "insert":
        return void insert(request.text);
      case "openLink":
        return this.openLink(request.url);
    }
  }

  /** VS Code asks the user before it opens a host that is not trusted. */
  private openLink(url: string): void {
    const uri = vscode.Uri.parse(url, true);
    if (LINK_SCHEMES.includes(uri.scheme)) void vscode.env.openExternal(uri);
    else this.log.warn(`a link was not opened: its scheme is ${uri.scheme}`);
  }

  private tellStatus(): void {
    const { status, settings } = this.kernel;
    const isKeyKnown = this.key.isPresent !== undefined;
    const told: Status = {
      // Whether there is a key must be known before the page says that there is none.
      kernel: status.state === "ready" && !isKeyKnown ? { state: "starting" } : status,
      provider: settings.provider,
      model: modelName(settings),
      host: hostOf(settings),
      key: needsKey(settings) ? (this.key.isPresent ? "present" : "absent") : "unneeded",
    };
    this.tell({ type: "status", status: told });
  }

  private tellTurns(): void {
    this.tell({ type: "unattended", busy: this.turns.areUnattended });
  }

  private tell(message: ToPage): void {
    if (!this.waiting) void this.view?.webview.postMessage(message);
  }
}

/** The message if it is one: a page may post anything. */
function read(message: unknown): FromPage | undefined {
  if (typeof message !== "object" || message === null || "channel" in message) return undefined;
  const { type, command, text, url } = message as Record<string, unknown>;
  const isShort = (value: unknown, most: number): value is string => typeof value === "string" && value.length <= most;
  switch (type) {
    case "ready":
    case "stop":
      return { type };
    case "command": {
      const known = PAGE_COMMANDS.find((known) => known === command);
      return known && { type, command: known };
    }
    case "copy":
    case "insert":
      return isShort(text, TEXT_CHARS_MAX) ? { type, text } : undefined;
    case "openLink":
      return isShort(url, URL_CHARS_MAX) ? { type, url } : undefined;
    default:
      return undefined;
  }
}

async function insert(text: string): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (!editor) {
    await vscode.window.showInformationMessage("Open a file first: the code goes where the cursor is.");
    return;
  }
  await editor.edit((edit) => edit.replace(editor.selection, text));
  await vscode.window.showTextDocument(editor.document, editor.viewColumn);
}

function html(webview: vscode.Webview, root: vscode.Uri): string {
  const nonce = randomBytes(16).toString("base64url");
  const uri = (file: string) => webview.asWebviewUri(vscode.Uri.joinPath(root, file)).toString();
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src ${webview.cspSource}`,
    `font-src ${webview.cspSource}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta http-equiv="Content-Security-Policy" content="${policy}" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Midplane Chat</title>
    <link rel="stylesheet" href="${uri("main.css")}" />
  </head>
  <body>
    <script nonce="${nonce}" src="${uri("main.js")}"></script>
  </body>
</html>`;
}
