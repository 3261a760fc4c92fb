// Takes a picture of every state in every theme, for looking at:
//
//     node scripts/build.mjs --dev --tests && node dist/test/pictures.mjs DIRECTORY [THEME]...

import { join } from "node:path";

import { launch, THEMES } from "./browser";
import { STATES } from "./states";

const [directory = "pictures", ...chosen] = process.argv.slice(2);
const browser = await launch();
for (const theme of chosen.length > 0 ? chosen : Object.keys(THEMES)) {
  for (const [name, open] of Object.entries(STATES)) {
    const chat = await open(browser, { theme });
    await chat.page.screenshot({ path: join(directory, `${theme}-${name}.png`) });
    await chat.close();
  }
}
await browser.close();
