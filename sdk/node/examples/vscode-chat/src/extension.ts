// A chat in VS Code's side bar, answered by a Midplane kernel of this window's own.

import * as vscode from "vscode";

import { ChatView } from "./chatView";
import { registerCommands } from "./commands";
import { ApiKey } from "./key";
import { ChatKernel } from "./kernel";
import { onSettings, readSettings } from "./settings";
import { StatusBar } from "./statusBar";

let kernel: ChatKernel | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel("Midplane", { log: true });
  const key = new ApiKey(context.secrets);
  kernel = new ChatKernel(context, key, readSettings(), log);
  const view = new ChatView(context.extensionUri, kernel, key, log);

  context.subscriptions.push(log, key, view, new StatusBar(kernel));
  context.subscriptions.push(...registerCommands({ kernel, key, view, log }));
  context.subscriptions.push(onSettings((settings) => kernel?.apply(settings)));
  kernel.start();
}

/** The kernel would notice that its host is gone, too; this way it drains first. */
export async function deactivate(): Promise<void> {
  await kernel?.dispose();
}
