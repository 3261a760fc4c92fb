// A VS Code window, as a person handles it: command palette, input boxes, notifications, the status bar, the chat view.

import { ChatView } from "./chatView.mjs";
import { DEADLINE_MS, until } from "./wait.mjs";

/** After that the palette is opened again: it does not always notice commands that were registered while it is open, and a
 *  window that is busy with its focus may miss a key. */
const PALETTE_MS = 2_000;

export class Window {
  static async open(context, url, folder) {
    const unused = context.pages().find((page) => page.url() === "about:blank");
    const page = unused ?? (await context.newPage());
    page.setDefaultTimeout(DEADLINE_MS);
    await page.goto(`${url}/?folder=${folder}`);
    await page.locator(".monaco-workbench .activitybar").waitFor();
    const window = new Window(page);
    await window.#tab.waitFor();
    return window;
  }

  constructor(page) {
    this.page = page;
    this.chat = new ChatView(page);
  }

  /** Waits until the extension's item in the status bar says this of the kernel. */
  async kernelIs(state) {
    await this.page.locator(`.statusbar-item [aria-label*="Midplane, kernel ${state}"], .statusbar-item[aria-label*="Midplane, kernel ${state}"]`).first().waitFor();
  }

  get #tab() {
    return this.page.locator('.activitybar .action-item:has(a[aria-label^="Midplane"])').first();
  }

  get #input() {
    return this.page.locator(".quick-input-widget:visible input");
  }

  /** Runs a command by its title from the palette. */
  async command(title) {
    const row = this.page.locator(".quick-input-widget:visible .quick-input-list .monaco-list-row", { hasText: title }).first();
    await until(`the command ${title}`, async () => {
      // Escape is for a palette that is open already: elsewhere it would stop an answer.
      if (await this.#input.isVisible()) await this.page.keyboard.press("Escape");
      await this.page.keyboard.press("F1");
      await this.#input.waitFor({ timeout: PALETTE_MS });
      await this.#input.fill(`>${title}`, { timeout: PALETTE_MS });
      await row.waitFor({ timeout: PALETTE_MS });
      return true;
    });
    await this.page.keyboard.press("Enter");
    await row.waitFor({ state: "hidden" });
  }

  /** Answers an input box. `secret`: it must hide what is typed. */
  async answer(text, { secret = false } = {}) {
    const box = secret ? this.page.locator('.quick-input-widget:visible input[type="password"]') : this.#input;
    await box.waitFor();
    await box.fill(text);
    await this.page.keyboard.press("Enter");
    await this.page.locator(".quick-input-widget").waitFor({ state: "hidden" });
  }

  /** Opens a file of the folder by its name. */
  async openFile(name) {
    const row = this.page.locator(".quick-input-widget:visible .quick-input-list .monaco-list-row", { hasText: name }).first();
    await until(`the file ${name}`, async () => {
      if (!(await this.#input.isVisible())) await this.page.keyboard.press("Control+P");
      await this.#input.fill(name, { timeout: PALETTE_MS });
      await row.waitFor({ timeout: PALETTE_MS });
      return true;
    });
    await this.page.keyboard.press("Enter");
    await row.waitFor({ state: "hidden" });
  }

  /** What VS Code says at its bottom for a few seconds. */
  statusMessage(text) {
    return this.page.locator(".statusbar-item", { hasText: text }).first();
  }

  notification(text) {
    return this.page.locator(".notification-toast", { hasText: text }).first();
  }

  /** Shows the chat view in the side bar. */
  async openChat() {
    // A click on the tab of a view that is shown would hide it.
    const isShown = (await this.#tab.getAttribute("class")).split(" ").includes("checked");
    if (!isShown) await this.#tab.click();
    await this.kernelIs("ready");
    await this.chat.ready();
    return this.chat;
  }

  /** Drags the side bar's edge until it is this wide, as far as VS Code lets it. */
  async widenSideBar(width) {
    const box = await this.page.locator(".part.sidebar").boundingBox();
    const y = box.y + box.height / 2;
    await this.page.mouse.move(box.x + box.width, y);
    await this.page.mouse.down();
    await this.page.mouse.move(box.x + width, y, { steps: 5 });
    await this.page.mouse.up();
  }

  /** Takes the pointer and passing messages out of the picture. */
  async quiet() {
    await this.page.mouse.move(700, 500);
    await this.page.locator(".notification-toast").waitFor({ state: "hidden" });
    await this.page.locator(".monaco-sash.hover").first().waitFor({ state: "hidden" });
    await this.page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  }

  /** Closes the tab, as a person does: VS Code's page says goodbye to its server. */
  async close() {
    await this.page.close({ runBeforeUnload: false });
  }
}
