// The page's states in VS Code's themes, looked over by axe.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import type { AxeResults, RunOptions } from "axe-core";
import type { Browser, Page } from "playwright-core";

import { launch, THEMES } from "./browser";
import { STATES } from "./states";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let browser: Browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => {
    const { axe } = window as unknown as { axe: { run(context: Document, options: RunOptions): Promise<AxeResults> } };
    // It would fetch the style sheet, which the page's policy forbids, to look at media queries.
    return axe.run(document, { preload: false });
  });
  return violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html} ${node.failureSummary ?? ""}`));
}

/** Every state in these; in the other themes the two states that hold the most. */
const WHOLE = ["dark", "light", "hc-dark"];
const RICHEST = ["opened", "threads"];

for (const theme of Object.keys(THEMES)) {
  for (const [name, open] of Object.entries(STATES)) {
    if (!WHOLE.includes(theme) && !RICHEST.includes(name)) continue;
    test(`${theme}: ${name}`, async () => {
      const chat = await open(browser, { theme });
      assert.deepEqual(await violations(chat.page), []);
      await chat.close();
    });
  }
}

test("forced colours: what a background told apart has a border", async () => {
  const CANVAS = "rgb(255, 255, 255)";
  const borders = async (name: string, selectors: string[]) => {
    const chat = await STATES[name]!(browser, { forcedColors: "active" });
    for (const selector of selectors) {
      const locator = chat.page.locator(selector).first();
      const color = await locator.evaluate((element) => getComputedStyle(element).borderTopColor);
      assert.equal(color === CANVAS, selector.includes(":not"), `${name} ${selector} ${color}`);
    }
    await chat.close();
  };
  await borders("streaming", [".bubble", ".round", ".composer", ".code"]);
  await borders("threads", [".row.open", ".row:not(.open)"]);
  await borders("unreachable", [".card", ".button"]);
});
