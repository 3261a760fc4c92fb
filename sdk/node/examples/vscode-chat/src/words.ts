// The chat module speaks of its own settings; a user of the extension knows them by other names.

const NAMES: Record<string, string> = {
  base_url: "midplane.baseUrl",
  model: "midplane.model",
  api: "midplane.api",
  requires_key: "midplane.requiresKey",
  instructions: "midplane.instructions",
  provider: "midplane.provider",
};

/** A message of the chat module with the names that the settings have in VS Code. */
export function inSettings(message: string): string {
  return message
    .replace(/^init failed: /, "")
    .replace(/`([a-z_]+)`/g, (name, word: string) => (NAMES[word] ? `\`${NAMES[word]}\`` : name))
    .replace(/(`midplane\.\w+`) of the chat module/g, "$1");
}
