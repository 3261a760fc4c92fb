export class ChatView {
  constructor(page) { this.page = page; this.frame = page.frameLocator("iframe.webview.ready").frameLocator("#active-frame"); }
  isVisible() { return this.page.locator("iframe.webview.ready").first().isVisible(); }
  async ready() { await this.frame.getByRole("textbox").waitFor(); }
}
