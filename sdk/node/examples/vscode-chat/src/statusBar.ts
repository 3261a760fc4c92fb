// The item in the status bar: how the kernel is, and on hovering which modules run in it.

import * as vscode from "vscode";

import type { ChatKernel } from "./kernel";
import type { KernelStatus } from "./messages";

/** Beside the name; nothing while all is well. */
const ICONS: Record<KernelStatus["state"], string> = {
  starting: "$(sync~spin)",
  restarting: "$(sync~spin)",
  ready: "",
  stopped: "$(circle-slash)",
  failed: "$(error)",
};

export class StatusBar implements vscode.Disposable {
  private readonly item: vscode.StatusBarItem;
  private readonly subscription: vscode.Disposable;

  constructor(private readonly kernel: ChatKernel) {
    this.item = vscode.window.createStatusBarItem("midplane.status", vscode.StatusBarAlignment.Right, 100);
    this.item.name = "Midplane";
    this.item.command = "midplane.showStatus";
    this.subscription = kernel.onDidChange(() => this.show());
    this.show();
    this.item.show();
  }

  dispose(): void {
    this.subscription.dispose();
    this.item.dispose();
  }

  private show(): void {
    const { status, version, modules } = this.kernel;
    this.item.backgroundColor =
      status.state === "failed" ? new vscode.ThemeColor("statusBarItem.errorBackground") : undefined;
    this.item.text = `Midplane ${ICONS[status.state] || version}`;
    this.item.accessibilityInformation = { label: `Midplane, kernel ${status.state}`, role: "button" };

    const text = new vscode.MarkdownString("", true);
    text.appendMarkdown(`**Midplane** ${version} — kernel ${status.state}\n\n`);
    if (status.state === "failed") text.appendText(status.reason);
    if (modules.length > 0) {
      text.appendMarkdown("| module | version | generation | state |\n|---|---|---|---|\n");
      for (const { name, version, generation, state } of modules) {
        text.appendMarkdown(`| ${name} | ${version} | ${generation} | ${state} |\n`);
      }
    }
    this.item.tooltip = text;
  }
}
