// The user's API key: asked for, kept in VS Code's secret storage, forgotten. No other file touches its value, and the
// kernel fetches it from the same storage when a session needs it.

import * as vscode from "vscode";

/** Its name in the secret storage, and the `secret_key_id` of sessions. */
export const KEY_ID = "openai-api-key";

/** The longest secret that the kernel takes. */
const KEY_BYTES_MAX = 4 * 1024;

export class ApiKey implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly subscription: vscode.Disposable;
  private present: boolean | undefined;

  /** Also when another window set or forgot the key. */
  readonly onDidChange = this.changed.event;

  constructor(readonly secrets: vscode.SecretStorage) {
    this.subscription = secrets.onDidChange(({ key }) => {
      if (key === KEY_ID) void this.look();
    });
    void this.look();
  }

  /** Undefined until the storage has answered. */
  get isPresent(): boolean | undefined {
    return this.present;
  }

  /** False if the user thought better of it. */
  async ask(title: string): Promise<boolean> {
    const value = await vscode.window.showInputBox({
      title,
      prompt: "It is kept in VS Code's secret storage and goes to your provider only.",
      placeHolder: "sk-…",
      password: true,
      ignoreFocusOut: true,
      validateInput: (value) => complaint(value.trim()),
    });
    if (value === undefined) return false;
    await this.secrets.store(KEY_ID, value.trim());
    await this.look();
    return true;
  }

  async forget(): Promise<void> {
    await this.secrets.delete(KEY_ID);
    await this.look();
  }

  dispose(): void {
    this.subscription.dispose();
    this.changed.dispose();
  }

  private async look(): Promise<void> {
    this.present = (await this.secrets.get(KEY_ID)) !== undefined;
    await vscode.commands.executeCommand("setContext", "midplane.hasKey", this.present);
    this.changed.fire();
  }
}

/** What is wrong with a key, as the kernel would find: it must fit a header's line. */
function complaint(key: string): string | undefined {
  if (key === "") return "Paste your provider's API key.";
  if (!/^[\x21-\x7e]*$/.test(key)) return "A key has no spaces and only plain letters, digits and signs.";
  if (key.length > KEY_BYTES_MAX) return `A key has at most ${KEY_BYTES_MAX} characters.`;
  return undefined;
}
