import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { registerCommands } from "../src/commands";
import { PAGE_COMMANDS } from "../src/messages";
import { THEMES } from "./browser";
import { registered } from "./stub/vscode";

const manifest = JSON.parse(readFileSync("package.json", "utf8")) as {
  contributes: {
    commands: { command: string }[];
    menus: Record<string, { command: string }[]>;
    keybindings: { command: string }[];
    configuration: { properties: Record<string, { scope?: string }> };
    walkthroughs: { steps: { description: string; media: { markdown: string } }[] }[];
  };
};
const { contributes } = manifest;
const declared = contributes.commands.map(({ command }) => command).sort();

test("every command that is declared is registered, and no other", () => {
  registerCommands({} as never);
  assert.deepEqual(registered.sort(), declared);
});

test("menus, keys, walkthrough and page name commands that there are", () => {
  const links = contributes.walkthroughs.flatMap(({ steps }) =>
    steps.flatMap(({ description }) => [...description.matchAll(/command:([\w.]+)/g)].map(([, command]) => command!)),
  );
  const named = [...Object.values(contributes.menus).flat(), ...contributes.keybindings].map(({ command }) => command);
  for (const command of [...named, ...links, ...PAGE_COMMANDS]) {
    assert.ok(declared.includes(command) || command === "midplane.chat.focus", command);
  }
});

test("no workspace can set where the key goes", () => {
  for (const [name, { scope }] of Object.entries(contributes.configuration.properties)) {
    assert.equal(scope, "machine", name);
  }
});

test("colours are the theme's: each variable is there in every theme, or has another to fall back to", () => {
  const style = readFileSync("webview/style.css", "utf8");
  assert.doesNotMatch(style, /#[0-9a-f]{3,8}\b|\brgba?\(|\bhsla?\(/i);
  const bare = [...style.matchAll(/var\((--vscode-[\w-]+)\)/g)].map(([, name]) => name!);
  // Undefined in high contrast, where they are nothing: no background.
  const mayBeMissing = /hoverBackground|HoverBackground|secondaryBackground|inactiveSelectionBackground|textPreformat-background/i;
  for (const [theme, { variables }] of Object.entries(THEMES)) {
    for (const name of bare) assert.ok(name in variables || mayBeMissing.test(name), `${name} is not there in ${theme}`);
  }
});
