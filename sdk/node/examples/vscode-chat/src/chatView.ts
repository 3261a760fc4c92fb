// The view in the side bar: its page, what the page may reach, and what it may ask for. The page never holds a token or a
// key, and what it says is taken for a stranger's words (`fromPage.ts`).

import { randomBytes } from "node:crypto";

import { relayFetch } from "@midplane/host/webview";
import * as vscode from "vscode";

import { Changes } from "./changes";
import { isAbort, messageOf } from "./failures";
import { readFromPage } from "./fromPage";
import type { ApiKey } from "./key";
import type { ChatKernel } from "./kernel";
import type { Status, ToPage } from "./messages";
import { hostOf, modelName, needsKey } from "./settings";
import { Turns } from "./turns";

const ID = "midplane.chat";
/** The one route of the chat module that the page uses. */
const ALLOWED = [{ method: "POST", path: "/api/chat/chatkit" }] as const;

export class ChatView implements vscode.WebviewViewProvider, vscode.Disposable {
  private readonly subscriptions: vscode.Disposable[];
  private readonly turns: Turns;
  private readonly changes: Changes;
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
    this.changes = new Changes(kernel.fetch, log);
    this.subscriptions = [
      this.turns,
      this.changes,
      this.changes.onDidChange((change) => this.tell({ type: "change", change })),
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
      onError: (error, { method, url }) => {
        // The user stopped it, or the page went.
        if (!isAbort(error)) this.log.warn(`${method} ${url}: ${messageOf(error)}`);
      },
    });
    const messages = webview.onDidReceiveMessage((message: unknown) => this.onMessage(message));
    // A hidden page is ended by VS Code, and begins anew when it is shown.
    const visibility = view.onDidChangeVisibility(() => {
      if (!view.visible) this.pageWent();
    });
    view.onDidDispose(() => {
      for (const part of [relay, messages, visibility]) part.dispose();
      if (this.view !== view) return;
      this.view = undefined;
      this.pageWent();
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
    const request = readFromPage(message);
    if (!request) return;
    switch (request.type) {
      case "ready": {
        const missed = this.waiting ?? [];
        this.waiting = undefined;
        this.changes.follow();
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
      case "openLink":
        // VS Code asks the user before it opens a host that is not trusted.
        return void vscode.env.openExternal(vscode.Uri.parse(request.url));
    }
  }

  /** Nobody listens until there is another. */
  private pageWent(): void {
    this.waiting = [];
    this.changes.unfollow();
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
