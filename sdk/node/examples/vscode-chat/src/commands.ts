// The commands of package.json, one entry each.

import * as vscode from "vscode";

import type { ChatView } from "./chatView";
import { messageOf } from "./failures";
import type { ApiKey } from "./key";
import type { ChatKernel } from "./kernel";

interface Parts {
  kernel: ChatKernel;
  key: ApiKey;
  view: ChatView;
  log: vscode.LogOutputChannel;
}

export function registerCommands(parts: Parts): vscode.Disposable[] {
  const { kernel, key, view, log } = parts;
  const commands: Record<string, () => unknown> = {
    "midplane.newChat": () => view.show({ type: "newChat" }),
    "midplane.showThreads": () => view.show({ type: "showThreads" }),
    "midplane.askSelection": () => askSelection(view),
    "midplane.setKey": () => setKey(key, "Set the API key"),
    "midplane.replaceKey": () => setKey(key, "Replace the API key"),
    "midplane.forgetKey": () => forgetKey(key),
    "midplane.reloadModule": () => reloadModule(kernel),
    "midplane.restartKernel": () => kernel.restart(),
    "midplane.showLog": () => log.show(),
    "midplane.showStatus": () => showStatus(kernel),
    "midplane.openSettings": () => openSettings(),
  };
  return Object.entries(commands).map(([name, run]) =>
    vscode.commands.registerCommand(name, async () => {
      try {
        await run();
      } catch (error) {
        log.error(`${name}: ${messageOf(error)}`);
        await vscode.window.showErrorMessage(`Midplane: ${messageOf(error)}`);
      }
    }),
  );
}

/** They are the machine's (`scope` in package.json): in a remote window the user's own settings do not show them. */
async function openSettings(): Promise<void> {
  const query = "@ext:midplane.midplane-chat";
  if (vscode.env.remoteName) await vscode.commands.executeCommand("workbench.action.openRemoteSettings", { query });
  else await vscode.commands.executeCommand("workbench.action.openSettings", query);
}

async function setKey(key: ApiKey, title: string): Promise<void> {
  if (await key.ask(title)) vscode.window.setStatusBarMessage("$(key) Midplane: the API key is stored", 4_000);
}

async function forgetKey(key: ApiKey): Promise<void> {
  if (!key.isPresent) {
    await vscode.window.showInformationMessage("Midplane has no API key.");
    return;
  }
  const answer = await vscode.window.showWarningMessage(
    "Forget the API key?",
    { modal: true, detail: "It is deleted from VS Code's secret storage and wiped from the kernel's memory." },
    "Forget",
  );
  if (answer === "Forget") await key.forget();
}

async function reloadModule(kernel: ChatKernel): Promise<void> {
  const modules = kernel.modules.map(({ name, version, generation, state }) => ({
    label: name,
    description: `${version}, generation ${generation}, ${state}`,
  }));
  if (modules.length === 0) throw new Error("the kernel has no module now: restart it, or look at the log");
  const picked = modules.length === 1 ? modules[0] : await vscode.window.showQuickPick(modules, { title: "Reload which module?" });
  if (!picked) return;
  const title = `Reloading ${picked.label}`;
  const said = await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title }, () =>
    kernel.reload(picked.label),
  );
  vscode.window.setStatusBarMessage(`$(check) ${said}`, 6_000);
}

async function showStatus(kernel: ChatKernel): Promise<void> {
  const { status, version, modules } = kernel;
  const running = modules.map(({ name, generation }) => `${name}#${generation}`).join(", ");
  const pick = (label: string, command: string, detail?: string) => ({ label, command, ...(detail ? { detail } : {}) });
  const picked = await vscode.window.showQuickPick(
    [
      pick("$(comment-discussion) Open the chat", "midplane.chat.focus"),
      pick("$(refresh) Reload a module", "midplane.reloadModule", running),
      pick("$(debug-restart) Restart the kernel", "midplane.restartKernel"),
      pick("$(output) Show the log", "midplane.showLog"),
      pick("$(gear) Open the settings", "midplane.openSettings"),
    ],
    { title: `Midplane ${version}: ${status.state === "failed" ? status.reason : `the kernel is ${status.state}`}` },
  );
  if (picked) await vscode.commands.executeCommand(picked.command);
}

async function askSelection(view: ChatView): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (!editor || editor.selection.isEmpty) return;
  const text = editor.document.getText(editor.selection);
  // A fence longer than any in the text, so that the text cannot end it.
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  await view.show({ type: "quote", text: `${fence}${editor.document.languageId}\n${text.replace(/\n$/, "")}\n${fence}\n\n` });
}
