// Every state in every theme, looked over by axe.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import type { AxeResults } from "axe-core";
import type { Browser, Page } from "playwright-core";

import { launch, THEMES } from "./browser";
import { STATES } from "./states";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const THEMES_LOOKED_AT = Object.keys(THEMES);

let browser: Browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => {
    const { axe } = window as unknown as { axe: { run(): Promise<AxeResults> } };
    return axe.run();
  });
  return violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html} ${node.failureSummary ?? ""}`));
}

for (const theme of THEMES_LOOKED_AT) {
  for (const [name, open] of Object.entries(STATES)) {
    test(`${theme}: ${name}`, async () => {
      const chat = await open(browser, { theme });
      assert.deepEqual(await violations(chat.page), []);
      await chat.close();
    });
  }
}

test("forced colours: the streamed answer and the list", async () => {
  for (const name of ["streaming", "threads"]) {
    const chat = await STATES[name]!(browser, { forcedColors: "active" });
    assert.deepEqual(await violations(chat.page), []);
    await chat.close();
  }
});
