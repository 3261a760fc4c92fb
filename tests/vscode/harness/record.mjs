// Everything that pages receive and send: HTTP, frames of WebSockets, and messages that reach a webview. Kept as labelled
// texts, to be searched; it judges nothing.

/** The program's own files, the same for everyone and before any key was typed. */
const STATIC = /\/static\/|\/_static\//;

export class Record {
  #parts = new Map();
  #sockets = 0;

  /** [{where, bytes}] */
  get entries() {
    return [...this.#parts].map(([where, parts]) => ({ where, bytes: Buffer.concat(parts) }));
  }

  /** The two directions of each WebSocket, as text in which each character is one byte. */
  get sockets() {
    const of = (id, direction) => Buffer.concat(this.#parts.get(`websocket ${id} ${direction} code-server`) ?? []).toString("latin1");
    return Array.from({ length: this.#sockets }, (_, n) => ({ id: n + 1, sent: of(n + 1, "to"), received: of(n + 1, "from") }));
  }

  async watch(context) {
    await context.exposeBinding("__midplaneTestReceived", ({ frame }, text) => this.#add(`message to webview ${shorten(frame.url())}`, text));
    await context.addInitScript(listenAlong);
    context.on("page", (page) => this.#page(page));
    for (const page of context.pages()) this.#page(page);
  }

  #page(page) {
    page.on("websocket", (socket) => {
      // Frames of one direction are one stream: a message may lie across two of them.
      const id = (this.#sockets += 1);
      socket.on("framesent", ({ payload }) => this.#add(`websocket ${id} to code-server`, payload));
      socket.on("framereceived", ({ payload }) => this.#add(`websocket ${id} from code-server`, payload));
    });
    page.on("console", (message) => this.#add("console", `${message.text()}\n`));
    page.on("request", (request) => {
      this.#add("HTTP request", `${request.method()} ${request.url()}\n${JSON.stringify(request.headers())}\n${request.postData() ?? ""}\n`);
    });
    page.on("response", async (response) => {
      const where = "HTTP response";
      this.#add(where, `${response.status()} ${response.url()}\n${JSON.stringify(response.headers())}\n`);
      if (STATIC.test(response.url())) return;
      // A redirect and a response whose page is gone have no body.
      const body = await response.body().catch(() => null);
      if (body) this.#add(where, body);
    });
  }

  #add(where, piece) {
    const parts = this.#parts.get(where) ?? [];
    parts.push(Buffer.from(piece));
    this.#parts.set(where, parts);
  }
}

/** Runs in every frame before its own scripts: hears what each listener of `message` hears, also in webviews, whose document is
 *  written anew after that. And keeps the webview's `acquireVsCodeApi()` for a test that plays a page that was taken over. */
function listenAlong() {
  const received = globalThis.__midplaneTestReceived;
  const isWebview = () => /\/webview\//.test(location.href) || location.href.startsWith("about:");
  const tell = (event) => {
    if (!isWebview() || !received) return;
    let text;
    try {
      text = JSON.stringify(event.data, (_, value) =>
        value instanceof ArrayBuffer || ArrayBuffer.isView(value) ? new TextDecoder().decode(value) : value,
      );
    } catch {
      text = String(event.data);
    }
    received(text ?? "undefined");
  };
  const add = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (type, listener, options) {
    if (type === "message" && (this instanceof Window || this instanceof MessagePort)) add.call(this, type, tell);
    return add.call(this, type, listener, options);
  };
  for (const target of [MessagePort.prototype, window]) {
    const { get, set } = Object.getOwnPropertyDescriptor(target, "onmessage");
    Object.defineProperty(target, "onmessage", {
      configurable: true,
      get,
      set(listener) {
        add.call(this, "message", tell);
        set.call(this, listener);
      },
    });
  }
  let acquire;
  Object.defineProperty(globalThis, "acquireVsCodeApi", {
    configurable: true,
    get: () => acquire,
    set(original) {
      acquire = () => (globalThis.__midplaneTestApi ??= original());
    },
  });
}

const shorten = (url) => url.replace(/^https?:\/\/[^/]*/, "").replace(/\?.*/, "").split("/").slice(-2).join("/");
