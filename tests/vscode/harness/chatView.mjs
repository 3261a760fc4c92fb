// The chat view, found as a person or a screen reader finds its parts: by role and name.

import { until } from "./wait.mjs";

export class ChatView {
  constructor(page) {
    this.page = page;
    // The outer frame is VS Code's, the inner one the extension's.
    this.frame = page.frameLocator("iframe.webview.ready").frameLocator("#active-frame");
    this.message = this.frame.getByRole("textbox", { name: "Message", exact: true });
    this.stop = this.frame.getByRole("button", { name: "Stop", exact: true });
    this.retry = this.frame.getByRole("button", { name: "Retry", exact: true });
    this.questions = this.frame.getByRole("article", { name: "You", exact: true });
    this.answers = this.frame.getByRole("article", { name: "Answer", exact: true });
    /** What went wrong. */
    this.alert = this.frame.getByRole("alert");
    this.threads = this.frame.getByRole("list", { name: "Threads", exact: true });
  }

  /** The view is there, and so is the kernel behind it. */
  async ready() {
    await this.message.waitFor();
    await this.frame.getByRole("button", { name: "Send", exact: true }).or(this.stop).first().waitFor();
  }

  button(name) {
    return this.frame.getByRole("button", { name, exact: true });
  }

  text(text) {
    return this.frame.getByText(text);
  }

  /** Sends a message as soon as the view lets it be sent. */
  async send(text) {
    await this.message.fill(text);
    await until(`"${text}" to be sent`, async () => {
      await this.message.press("Enter");
      return (await this.message.inputValue()) === "";
    });
  }

  /** Waits until the newest answer is complete, and is `text`. */
  async answered(text) {
    const answer = this.answers.last();
    await until(`the complete answer "${text}"`, async () => {
      if ((await answer.getAttribute("aria-busy")) !== "false") return false;
      return (await answer.locator(".markdown").innerText()).trim() === text;
    });
  }

  /** Says something, and waits for the whole answer. */
  async ask(text, answer) {
    await this.send(text);
    await this.answered(answer);
  }

  /** The frame itself, to run scripts in it as a page that was taken over would. */
  async contentFrame() {
    return until("the page of the view", async () => {
      for (const frame of this.page.frames()) {
        if (frame.name() === "active-frame" || /fake\.html/.test(frame.url())) {
          if (await frame.locator("textarea").count()) return frame;
        }
      }
      return null;
    });
  }
}
