// What the relay adds to each event, beside the same `fetch` called directly: `node test/webview/bench.mjs [events]`, after a build.
//
// A server in a thread of its own writes one event at a time and the next only when the reader says so, so that events are
// measured and not queues. In this process an event's latency is from its writing to its reading, on one clock. In Chromium clocks
// are coarse, so the server measures from its writing to the reader's answer, which takes the same way in both columns.
// Nothing here is asserted; the numbers are of this machine at this moment.
import { Worker, isMainThread, parentPort } from "node:worker_threads";
import { createServer } from "node:http";
import { once } from "node:events";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";

const EVENT_BYTES = 300;
const DOWNLOAD_BYTES = 64 * 1024 * 1024;
const now = () => process.hrtime.bigint();
const allow = [{ method: "GET", path: "/api/bench/*" }];

if (isMainThread) {
  await measure(Number(process.argv[2] ?? 2_000));
} else {
  serve();
}

/** The thread with the server: events on demand, and a large body. */
function serve() {
  let stream;
  let sentAt;
  let answered;
  const next = () => {
    sentAt = now();
    stream.write(`data: ${String(sentAt)} ${"x".repeat(EVENT_BYTES)}\n\n`);
  };
  const server = createServer((request, response) => {
    response.setHeader("access-control-allow-origin", "*");
    switch (request.url) {
      case "/api/bench/events":
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.flushHeaders();
        stream = response;
        return next();
      case "/answer":
        answered.push(Number(now() - sentAt) / 1_000);
        response.end();
        return next();
      case "/api/bench/large": {
        const chunk = Buffer.alloc(64 * 1024);
        let left = DOWNLOAD_BYTES;
        const more = () => {
          while (left > 0) {
            left -= chunk.length;
            if (!response.write(chunk)) {
              return response.once("drain", more);
            }
          }
          return response.end();
        };
        return more();
      }
      default:
        return response.writeHead(404).end();
    }
  });
  parentPort.on("message", (asked) => {
    if (asked === "next") {
      next();
    } else if (asked === "measure") {
      answered = [];
    } else if (asked === "answers") {
      parentPort.postMessage(answered);
    } else {
      server.closeAllConnections();
      server.close();
      parentPort.close();
    }
  });
  server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
}

async function measure(events) {
  const worker = new Worker(fileURLToPath(import.meta.url));
  const [port] = await once(worker, "message");
  const origin = `http://127.0.0.1:${port}`;
  const { createFetch } = await import("../../dist/esm/webview/page.js");
  const { relayFetch } = await import("../../dist/esm/webview/host.js");
  const { fakeWebview } = await import("./support.mjs");
  const direct = (path, init) => fetch(origin + path, init);
  const rows = [];

  const inProcess = async (fetchEvents) => {
    const stop = new AbortController();
    const response = await fetchEvents("/api/bench/events", { signal: stop.signal });
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const micros = [];
    // A quarter more at first, for the compiler.
    for (let event = -Math.floor(events / 4); event < events; event += 1) {
      const { value } = await reader.read();
      const at = now();
      if (event >= 0) {
        micros.push(Number(at - BigInt(/data: (\d+)/.exec(decoder.decode(value))[1])) / 1_000);
      }
      worker.postMessage("next");
    }
    stop.abort();
    return micros;
  };
  const download = async (fetchLarge) => {
    const start = now();
    const response = await fetchLarge("/api/bench/large");
    let byteLength = 0;
    for await (const chunk of response.body) {
      byteLength += chunk.byteLength;
    }
    return byteLength / (1024 * 1024) / (Number(now() - start) / 1e9);
  };

  for (const [carrier, name] of [["memory", "in memory, messages passed as they are"], ["vscode", "in memory, JSON with buffers beside, as VS Code's"], ["port", "MessageChannel, structured clone"]]) {
    const { webview, load, close } = fakeWebview(carrier);
    const relay = relayFetch(webview, direct, { allow });
    const { api, scope } = load();
    const relayed = createFetch(api, { scope });
    // In turns, so that both meet the same weather.
    const plain = [];
    const through = [];
    for (let turn = 0; turn < 3; turn += 1) {
      plain.push(...(await inProcess(direct)));
      through.push(...(await inProcess(relayed)));
    }
    rows.push({ name, plain, through, mibps: [await download(direct), await download(relayed)] });
    relay.dispose();
    close();
  }

  const inBrowser = await measureChromium(worker, origin, events);
  if (typeof inBrowser === "string") {
    console.error(`Chromium: skipped: ${inBrowser}`);
  } else {
    rows.push({ name: "Chromium, between frames (event and answer)", ...inBrowser });
  }
  worker.postMessage("stop");
  await once(worker, "exit");
  print(rows, events);
}

/** Both halves in a browser: the extension's in the editor's document, the page's in its sandboxed frame; `postMessage` is the real one. */
async function measureChromium(worker, origin, events) {
  const { launchChromium, servePages } = await import("./chromium.mjs");
  const { browser, missing } = await launchChromium();
  if (missing !== undefined) {
    return missing;
  }
  const teardown = [() => browser.close()];
  try {
    const pages = await servePages(
      { after: (step) => teardown.push(step) },
      {
        csp: null,
        parent: `
          import { relayFetch } from "/webview/host.js";
          const frame = () => document.querySelector("iframe").contentWindow;
          const webview = {
            postMessage: (message) => { frame().postMessage(message, "*"); return true; },
            onDidReceiveMessage: (listener) => { addEventListener("message", ({ data }) => listener(data)); return { dispose() {} }; },
          };
          relayFetch(webview, (path, init) => fetch("${origin}" + path, init), { allow: ${JSON.stringify(allow)} });`,
        frame: `
          import { createFetch } from "/webview/page.js";
          const relayed = createFetch(acquireVsCodeApi());
          const direct = (path, init) => fetch("${origin}" + path, init);
          globalThis.readEvents = async (way, events) => {
            const stop = new AbortController();
            const response = await (way === "direct" ? direct : relayed)("/api/bench/events", { signal: stop.signal });
            const reader = response.body.getReader();
            for (let event = 0; event < events; event += 1) {
              await reader.read();
              await fetch("${origin}/answer", { method: "POST" });
            }
            stop.abort();
          };
          globalThis.download = async (way) => {
            const start = performance.now();
            const reader = (await (way === "direct" ? direct : relayed)("/api/bench/large")).body.getReader();
            let byteLength = 0;
            for (;;) {
              const { done, value } = await reader.read();
              if (done) return byteLength / (1024 * 1024) / ((performance.now() - start) / 1000);
              byteLength += value.byteLength;
            }
          };
          globalThis.ready = true;`,
      },
    );
    const page = await (await browser.newContext()).newPage();
    await page.goto(pages);
    const frame = page.frames().find((candidate) => candidate.url().endsWith("/frame"));
    await frame.waitForFunction(() => globalThis.ready === true);
    const read = async (way) => {
      await frame.evaluate(([asked, count]) => globalThis.readEvents(asked, count), [way, Math.floor(events / 4)]);
      worker.postMessage("measure");
      await frame.evaluate(([asked, count]) => globalThis.readEvents(asked, count), [way, events]);
      worker.postMessage("answers");
      const [answers] = await once(worker, "message");
      return answers;
    };
    worker.postMessage("measure");
    const plain = [];
    const through = [];
    for (let turn = 0; turn < 3; turn += 1) {
      plain.push(...(await read("direct")));
      through.push(...(await read("relayed")));
    }
    const mibps = [await frame.evaluate(() => globalThis.download("direct")), await frame.evaluate(() => globalThis.download("relayed"))];
    return { plain, through, mibps };
  } finally {
    for (const step of teardown.reverse()) {
      await step();
    }
  }
}

function print(rows, events) {
  const at = (values, share) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))];
  const table = [["carrier", "p50 direct", "relayed", "added", "p99 direct", "relayed", "added", "MiB/s direct", "relayed"]];
  for (const { name, plain, through, mibps } of rows) {
    const columns = [0.5, 0.99].flatMap((share) => [at(plain, share), at(through, share), at(through, share) - at(plain, share)]);
    table.push([name, ...columns.map((value) => value.toFixed(0)), ...mibps.map((value) => value.toFixed(0))]);
  }
  const widths = table[0].map((_title, column) => Math.max(...table.map((row) => row[column].length)));
  console.log(`\n${3 * events} events of ${EVENT_BYTES} bytes each way; microseconds; node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model ?? "unknown"}\n`);
  for (const row of table) {
    console.log(row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join("  "));
  }
}
