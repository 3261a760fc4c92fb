// How it looks in VS Code's own themes: pictures for people in target/vscode/looks, and what of them can be asserted. One of
// the pictures stands in the README.

import assert from "node:assert/strict";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { newCanary } from "./harness/canary.mjs";
import { Provider } from "./harness/provider.mjs";
import { Scene } from "./harness/scene.mjs";
import { until } from "./harness/wait.mjs";

const THEMES = { dark: ["Dark Modern", "vscode-dark"], light: ["Light Modern", "vscode-light"], "high-contrast": ["Default High Contrast", "vscode-high-contrast"], "high-contrast-light": ["Default High Contrast Light", "vscode-high-contrast-light"] };
/** WCAG 2.2, success criterion 1.4.3: text of normal size. */
const CONTRAST_MIN = 4.5;
const PICTURE_BYTES_MAX = 300_000;
const pictures = join(process.env.VSCODE_RESULTS, "looks");
mkdirSync(pictures, { recursive: true });

const key = newCanary();
const provider = await new Provider().start();
provider.keys = [key];
/** VS Code follows the machine's settings as they change. */
const settings = ([theme]) => ({
  ...provider.settings,
  "midplane.model": "gpt-4.1-mini",
  "workbench.colorTheme": theme,
  "window.autoDetectColorScheme": false,
  "editor.minimap.enabled": false,
  "editor.fontSize": 13,
});
const scene = await Scene.set("looks", settings(THEMES.dark));
scene.with(provider);

const SOURCE = `use std::time::Duration;

/// Doubles the wait after each failure, up to \`max\`.
pub struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { next: first, max }
    }

    /// How long to wait now.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.max);
        wait
    }
}
`;
const QUESTION = "Two clients that fail together retry together. How do I spread them?";
const ANSWER = `Add **jitter**: wait a random time up to the current bound, so that clients drift apart.

\`\`\`rust
pub fn wait(&mut self) -> Duration {
    let bound = self.next;
    self.next = (bound * 2).min(self.max);
    bound.mul_f64(rand::random())
}
\`\`\`

- The bound still doubles, so a server that is down gets fewer calls.
- \`mul_f64\` takes a factor between 0 and 1.
`;
const FOLLOWING = "And after a success?";
const LAST = "Start over with the first wait: a `reset` that sets `self.next` to it, called once a request went";
let window, chat;

/** The least contrast of the text that is seen in the view, and whose it is. */
function contrast() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
  const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(rgba(getComputedStyle(e).backgroundColor));
    // What is behind the view is the side bar, whose colour VS Code hands down as a variable.
    const base = rgba(getComputedStyle(document.documentElement).getPropertyValue("--vscode-sideBar-background") || "white");
    return layers.reduce((below, layer) => over(layer, below), base);
  };
  let least = { ratio: 21, text: "" };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = node.textContent.trim();
    if (!text || /^(SCRIPT|STYLE)$/.test(element.tagName) || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    const below = behind(element);
    const colour = over(rgba(getComputedStyle(element).color), below);
    const [a, b] = [luminance(colour), luminance(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least.ratio) least = { ratio, text, colour, below };
  }
  return least;
}

scene.test("a conversation beside a file", async () => {
  const folder = join(scene.root, "folders/backoff");
  mkdirSync(join(folder, "src"), { recursive: true });
  writeFileSync(join(folder, "src/backoff.rs"), SOURCE);
  window = await scene.window("backoff");
  await window.openFile("backoff.rs");
  await window.page.locator(".monaco-editor .view-line", { hasText: "Doubles the wait" }).waitFor();
  chat = await window.openChat();
  await window.widenSideBar(470);
  await window.command("Midplane: Set API Key…");
  await window.answer(key, { secret: true });
  provider.hold(QUESTION).say(ANSWER).finish();
  await chat.send(QUESTION);
  await chat.answers.getByText("takes a factor between 0 and 1").waitFor();
  await chat.stop.waitFor({ state: "detached" });
  const answer = provider.hold(FOLLOWING);
  await chat.send(FOLLOWING);
  await answer.asked;
  answer.say(LAST);
  await chat.answers.last().getByText("called once a request went").waitFor();
  await window.quiet();
  const picture = join(pictures, "readme.png");
  await window.page.screenshot({ path: picture, animations: "disabled" });
  assert.ok(statSync(picture).size < PICTURE_BYTES_MAX);
  answer.say(" through.").finish();
  await chat.stop.waitFor({ state: "detached" });
});

for (const [name, [title, bodyClass]] of Object.entries(THEMES)) {
  scene.test(`the theme ${title}`, async () => {
    scene.server.machineSettings(settings([title]));
    await until(`the view to be in ${title}`, () => chat.frame.locator("body").evaluate((body, wanted) => body.classList.contains(wanted), bodyClass));
    await window.quiet();
    await window.page.screenshot({ path: join(pictures, `${name}.png`), animations: "disabled" });
    const least = await chat.frame.locator("body").evaluate(contrast);
    assert.ok(least.ratio >= CONTRAST_MIN, `"${least.text}" has a contrast of ${least.ratio.toFixed(2)}: ${least.colour} on ${least.below}`);
  });
}

scene.test("the list of threads, and a narrow side bar", async () => {
  scene.server.machineSettings(settings(THEMES.dark));
  await chat.button("Threads").click();
  await chat.threads.waitFor();
  await window.page.screenshot({ path: join(pictures, "threads.png"), animations: "disabled" });
  await chat.button("Back to the chat").click();
  await window.widenSideBar(200);
  const overflow = await chat.frame.locator("body").evaluate((body) => body.scrollWidth - body.clientWidth);
  assert.equal(overflow, 0, "nothing is cut off at the side");
  await window.quiet();
  await window.page.screenshot({ path: join(pictures, "narrow.png"), animations: "disabled" });
});

scene.test("what went wrong", async () => {
  await window.widenSideBar(470);
  await provider.stop();
  await chat.send("Are you there?");
  await chat.alert.waitFor();
  await window.quiet();
  await window.page.screenshot({ path: join(pictures, "failure.png"), animations: "disabled" });
  const least = await chat.frame.locator("body").evaluate(contrast);
  assert.ok(least.ratio >= CONTRAST_MIN, `"${least.text}" has a contrast of ${least.ratio.toFixed(2)}`);
});
