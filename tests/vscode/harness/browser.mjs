// Headless Chromium with a profile that is kept, since SecretStorage lives in it; and a record of everything that its pages
// receive and send.

import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// The packages lie in tests/.cache, not beside this file.
const require = createRequire(`${process.env.VSCODE_MODULES}/`);
const { chromium } = require("playwright-core");

const FLAGS = [
  // Only for root and containers, where Chromium's own sandbox cannot be set up.
  "--no-sandbox",
  ...["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
];
export const VIEWPORT = { width: 1280, height: 800 };

/** Starts a browser on the profile below `root`. `record` gets all traffic; see `record.mjs`. */
export async function startBrowser(root, environment, record) {
  const profile = join(root, "profile");
  mkdirSync(profile, { recursive: true });
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.VSCODE_CHROMIUM,
    headless: true,
    args: FLAGS,
    env: environment,
    viewport: VIEWPORT,
    permissions: ["clipboard-read", "clipboard-write"],
  });
  await record.watch(context);
  return context;
}
