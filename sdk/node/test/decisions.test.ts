// What is decided without a kernel, by tables.
import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";

import { foreignTo } from "../src/binary.js";
import { InFlight } from "../src/bridge/in_flight.js";
import { eventOf, logRecordOf } from "../src/bridge/records.js";
import { documentOf, writeConfiguration } from "../src/configuration.js";
import { kernelEnvironment } from "../src/environment.js";
import { describeExit, reasonIn } from "../src/kernel/exit.js";
import { RESTART, type Verdict, judge } from "../src/kernel/policy.js";
import { Listeners } from "../src/listeners.js";
import { freshness } from "../src/session/lifetime.js";
import { checkSocketPath } from "../src/socket_path.js";
import { toToml } from "../src/toml.js";

test("a kernel is started again after pauses that grow, and given up at the fourth end in three minutes", () => {
  const check = (endsMs: readonly number[], expect: Verdict) => assert.deepEqual(judge(RESTART, endsMs, endsMs.at(-1) ?? 0), expect, String(endsMs));
  check([5], { again: true, delayMs: 0 });
  check([5, 6], { again: true, delayMs: 500 });
  check([5, 6, 7], { again: true, delayMs: 2_000 });
  check([5, 6, 7, 8], { again: false, ends: 4 });
  check([0, 60_000, 120_000, 179_999], { again: false, ends: 4 });
  check([0, 60_000, 120_000, 180_000], { again: true, delayMs: 2_000 });
  check([0, 200_000, 400_000, 600_000, 800_000], { again: true, delayMs: 0 });
  assert.deepEqual(judge({ ...RESTART, delaysMs: [] }, [1], 1), { again: true, delayMs: 0 });
  assert.deepEqual(judge({ ...RESTART, max: 9, delaysMs: [1, 2] }, [1, 1, 1, 1], 1), { again: true, delayMs: 2 });
});

test("a token is due a minute before its end, or a quarter of a short life", () => {
  const check = (lifeS: number, atS: number, expect: string) =>
    assert.equal(freshness({ issuedMs: 1_000, expiresMs: 1_000 + lifeS * 1000 }, 1_000 + atS * 1000), expect, `${lifeS} ${atS}`);
  check(600, 0, "fresh");
  check(600, 539, "fresh");
  check(600, 540, "due");
  check(600, 599, "due");
  check(600, 600, "expired");
  check(8, 5, "fresh");
  check(8, 6, "due");
  check(0, 0, "expired");
  // A clock that was set back: the kernel's is the same one.
  check(600, -100, "fresh");
});

test("programs of other machines are known by their first bytes", () => {
  const elf = (machine: number, littleEndian = true) => {
    const head = new Uint8Array(20);
    head.set([0x7f, 0x45, 0x4c, 0x46, 2, littleEndian ? 1 : 2]);
    new DataView(head.buffer).setUint16(18, machine, littleEndian);
    return head;
  };
  const bytes = (...head: number[]) => new Uint8Array([...head, ...Array<number>(16).fill(0)]);
  const check = (head: Uint8Array, platform: NodeJS.Platform, arch: string, expect: RegExp | undefined) => {
    const found = foreignTo(head, platform, arch);
    assert(expect === undefined ? found === undefined : found !== undefined && expect.test(found), `${platform} ${arch}: ${found}`);
  };
  check(elf(62), "linux", "x64", undefined);
  check(elf(183), "linux", "arm64", undefined);
  check(elf(22, false), "linux", "s390x", undefined);
  check(elf(183), "linux", "x64", /built for arm64, and this is x64/);
  check(elf(62), "linux", "arm64", /built for x64/);
  check(elf(9999), "linux", "x64", /machine 9999/);
  check(elf(62), "darwin", "x64", /for Linux/);
  check(bytes(0xcf, 0xfa, 0xed, 0xfe), "darwin", "arm64", undefined);
  check(bytes(0xca, 0xfe, 0xba, 0xbe), "darwin", "x64", undefined);
  check(bytes(0xcf, 0xfa, 0xed, 0xfe), "linux", "x64", /for macOS/);
  check(bytes(0x4d, 0x5a), "linux", "x64", /for Windows/);
  check(bytes(0x23, 0x21), "linux", "x64", undefined);
  check(new Uint8Array([0x7f, 0x45, 0x4c, 0x46]), "linux", "x64", /no program/);
  check(new Uint8Array(), "linux", "x64", /no program/);
});

test("the length of a socket's path is its bytes", () => {
  const check = (bytes: number, platform: NodeJS.Platform, fits: boolean) => {
    const run = () => checkSocketPath(`/${"x".repeat(bytes - 1)}`, platform);
    return fits ? run() : assert.throws(run, { code: "socket_path_too_long" });
  };
  check(107, "linux", true);
  check(108, "linux", false);
  check(103, "darwin", true);
  check(104, "darwin", false);
  assert.throws(() => checkSocketPath(`/${"ü".repeat(60)}`, "linux"), /121 bytes/);
  assert.throws(() => checkSocketPath("/a\0b", "linux"), { code: "invalid_options" });
});

test("the environment is a short list and what is given", () => {
  const own = { HOME: "/h", PATH: "/p", LC_TIME: "C", OPENAI_API_KEY: "sk", MIDPLANE_CONFIG: "/c", LD_PRELOAD: "/x.so", NODE_OPTIONS: "-r x" };
  assert.deepEqual(kernelEnvironment(own), { HOME: "/h", PATH: "/p", LC_TIME: "C" });
  assert.deepEqual(kernelEnvironment(own, { HOME: undefined, A: "b", PATH: "/q" }), { PATH: "/q", LC_TIME: "C", A: "b" });
});

test("ends are told in sentences", () => {
  assert.equal(describeExit({ code: null, signal: "SIGSEGV" }), "was ended by SIGSEGV");
  assert.equal(describeExit({ code: 73, signal: null }), "exited with 73: it cannot create its socket or its directories");
  assert.equal(describeExit({ code: 1, signal: null }), "exited with 1");
  assert.equal(reasonIn(["midplane: one", "midplane: two", "three"]), "two");
  assert.equal(reasonIn(["one"]), undefined);
});

test("TOML says what JSON says", () => {
  const check = (document: Parameters<typeof toToml>[0], expect: string) => assert.equal(toToml(document), expect);
  check({}, "");
  check({ a: 1, b: -0.5, c: true, d: "x", e: undefined }, '"a" = 1\n"b" = -0.5\n"c" = true\n"d" = "x"\n');
  check({ "a b": { c: [1, "2", { d: [] }] } }, '"a b" = { "c" = [1, "2", { "d" = [] }] }\n');
  check({ a: 'quote " back \\ line \n del \u007f nul \u0000 ü 🦀' }, '"a" = "quote \\" back \\\\ line \\n del \\u007f nul \\u0000 ü 🦀"\n');
  check({ a: -0, b: 1e300 }, '"a" = 0\n"b" = 1e+300\n');
  for (const bad of [null, Number.NaN, Number.POSITIVE_INFINITY, "\ud800", [null], { x: null }]) {
    assert.throws(() => toToml({ a: bad }), { code: "invalid_options" });
  }
});

test("settings and modules become one document", () => {
  const modules = { one: "/m/one.so", two: { path: "two.so", isolation: "process" as const } };
  assert.deepEqual(documentOf({ sessions: { ttl: "1m" }, modules: { one: { watch: true } } }, modules, "debug"), {
    sessions: { ttl: "1m" },
    kernel: { log_filter: "debug" },
    modules: { one: { watch: true, path: "/m/one.so" }, two: { path: resolve("two.so"), isolation: "process" } },
  });
  assert.deepEqual(documentOf({ kernel: { log_filter: "warn" } }, {}, "info"), { kernel: { log_filter: "warn" }, modules: {} });
  assert.throws(() => documentOf({ modules: "x" }, {}, undefined), { code: "invalid_options" });
});

test("what the kernel tells is checked first", () => {
  const line = { timestamp: "2026-01-02T03:04:05.500Z", level: "WARN", target: "chat", message: "m", session: "ses_1", fields: { a: 1 } };
  const record = { level: "warn", target: "chat", message: "m", fields: { session: "ses_1", a: 1 }, at: Date.UTC(2026, 0, 2, 3, 4, 5, 500) / 1000 };
  assert.deepEqual(logRecordOf(line), record);
  assert.deepEqual(logRecordOf({ level: "info", message: "m", at: 5 }), { level: "info", target: "", message: "m", fields: {}, at: 5 });
  for (const bad of [undefined, null, [], "x", {}, { level: "loud", message: "m" }, { level: "info" }, { level: 1, message: "m" }]) {
    assert.equal(logRecordOf(bad), undefined);
  }
  assert.deepEqual(eventOf({ type: "x", more: 1 }), { type: "x", more: 1 });
  for (const bad of [undefined, null, [], {}, { type: 1 }]) {
    assert.equal(eventOf(bad), undefined);
  }
});

test("the configuration is written for this user alone, and removed", async () => {
  const { args, remove } = await writeConfiguration({ modules: { one: "/m/one.so" } });
  const file = args[1] ?? "";
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.match(readFileSync(file, "utf8"), /"one" = \{ "path" = "\/m\/one\.so" \}/);
  await remove();
  await remove();
  assert(!existsSync(resolve(file, "..")));
});

test("no more run at a time than may, and all of them run", async () => {
  const inFlight = new InFlight(2);
  let running = 0;
  let most = 0;
  const done: number[] = [];
  const work = (n: number) => async () => {
    most = Math.max(most, ++running);
    await Promise.resolve();
    running--;
    done.push(n);
    if (n === 1) {
      throw new Error("one fails");
    }
  };
  const all = await Promise.allSettled([0, 1, 2, 3, 4].map((n) => inFlight.run(work(n))));
  assert.deepEqual([most, done, all.filter(({ status }) => status === "rejected").length], [2, [0, 1, 2, 3, 4], 1]);
});

test("a listener may come twice, and leave while it is told", () => {
  const listeners = new Listeners<[number]>();
  const heard: number[] = [];
  const listener = (n: number) => heard.push(n);
  const first = listeners.add(listener);
  const second = listeners.add((n) => {
    first.dispose();
    second.dispose();
    heard.push(-n);
  });
  listeners.add(listener);
  listeners.tell(1);
  listeners.tell(2);
  assert.deepEqual(heard, [1, -1, 1, 2]);
});
