// A scripted OpenAI-compatible provider (Chat Completions). It says what the test tells it to, when the test tells it to, and
// keeps every request with its headers: the only place where a key may arrive.

import http from "node:http";
import { once } from "node:events";

import { settleable } from "./wait.mjs";

export class Provider {
  /** Every request: {method, path, headers, body}. */
  requests = [];
  /** The keys that are let in; null lets everyone in. */
  keys = null;
  #held = new Map();
  #server = null;

  async start() {
    this.#server = http.createServer((request, response) => this.#answer(request, response).catch((error) => response.destroy(error)));
    this.#server.listen(this.port ?? 0, "127.0.0.1");
    await once(this.#server, "listening");
    // The same port again after `stop`: a provider that comes back is where it was.
    this.port = this.#server.address().port;
    return this;
  }

  /** From now on connections are refused. */
  async stop() {
    if (!this.#server) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
    this.#server = null;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/v1`;
  }

  /** What the extension needs to use it. */
  get settings() {
    return { "midplane.provider": "openai", "midplane.baseUrl": this.url, "midplane.model": "scripted", "midplane.api": "chat_completions" };
  }

  /** The next message that is `text` gets the answer that the returned `Answer` is told to give. */
  hold(text) {
    const answer = new Answer();
    this.#held.set(text, answer);
    return answer;
  }

  /** The last user's words of every conversation that came, in order. */
  get asked() {
    return this.requests.filter(({ path }) => path.endsWith("/chat/completions")).map(({ body }) => lastWords(body));
  }

  async #answer(request, response) {
    const chunks = await request.toArray();
    const text = Buffer.concat(chunks).toString();
    const body = text ? JSON.parse(text) : null;
    this.requests.push({ method: request.method, path: request.url, headers: request.headers, rawHeaders: request.rawHeaders, body });
    const key = /^Bearer (.*)$/.exec(request.headers.authorization ?? "")?.[1];
    if (this.keys !== null && !this.keys.includes(key)) {
      // OpenAI repeats a part of the key; here it is all of it.
      const message = `Incorrect API key provided: ${key}. You can find your API key at https://platform.openai.com/account/api-keys.`;
      return json(response, 401, { error: { message, type: "invalid_request_error", param: null, code: "invalid_api_key" } });
    }
    if (request.url !== "/v1/chat/completions") return json(response, 404, { error: { message: "no such route", type: "invalid_request_error", param: null, code: null } });
    const words = lastWords(body);
    const held = this.#held.get(words);
    this.#held.delete(words);
    const answer = held ?? new Answer().say(`You said: ${words}`).finish();
    await answer.send(response);
  }
}

/** One answer, told piece by piece. `asked` settles when its request is there, `left` when the client went away before the end. */
class Answer {
  #steps = [];
  #more = settleable();
  #asked = settleable();
  #left = settleable();

  get asked() {
    return this.#asked.promise;
  }

  get left() {
    return this.#left.promise;
  }

  say(text) {
    for (const word of text.match(/\S*\s*/g).filter(Boolean)) this.#add({ delta: { content: word } });
    return this;
  }

  finish() {
    this.#add({ finish: true });
    return this;
  }

  #add(step) {
    this.#steps.push(step);
    this.#more.resolve();
  }

  async send(response) {
    this.#asked.resolve();
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    const left = once(response, "close").then(() => "left");
    const chunk = (choice) => ({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "scripted", choices: [{ index: 0, ...choice }] });
    for (;;) {
      const step = this.#steps.shift();
      if (step === undefined) {
        this.#more = settleable();
        if ((await Promise.race([this.#more.promise, left])) === "left") return this.#left.resolve();
        continue;
      }
      if (step.finish) {
        response.write(`data: ${JSON.stringify(chunk({ delta: {}, finish_reason: "stop" }))}\n\n`);
        return response.end("data: [DONE]\n\n");
      }
      response.write(`data: ${JSON.stringify(chunk({ delta: step.delta, finish_reason: null }))}\n\n`);
    }
  }
}

function json(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

function lastWords(body) {
  const content = body?.messages?.findLast(({ role }) => role === "user")?.content ?? "";
  return typeof content === "string" ? content : content.map(({ text }) => text ?? "").join("");
}
