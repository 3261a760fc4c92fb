// Everything that a process and its children write, anywhere, by strace. The trace holds what they write: it lies outside of
// the scene's directory, which is searched for keys.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createReadStream, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { until } from "./wait.mjs";

const WRITES = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg";
/** Longer than any single write of the kernel. */
const BYTES_MAX = "4194304";

/** Why it cannot be used here, or null. */
export function missing() {
  if (spawnSync("strace", ["--version"]).error) return "strace is missing";
  const tried = spawnSync("strace", ["-qq", "-o", "/dev/null", "true"]);
  return tried.status === 0 ? null : "strace is not allowed here";
}

export class Strace {
  static async attach(pids) {
    const strace = new Strace();
    strace.directory = mkdtempSync(join(process.env.VSCODE_SCENES ?? tmpdir(), "strace-"));
    strace.file = join(strace.directory, "trace");
    const words = ["-f", "-yy", "-qq", "-s", BYTES_MAX, "-e", `trace=${WRITES}`, "-e", "signal=none", "-o", strace.file];
    strace.process = spawn("strace", [...words, ...pids.flatMap((pid) => ["-p", `${pid}`])], { stdio: ["ignore", "inherit", "inherit"] });
    await until("strace to attach", () => pids.every((pid) => /^TracerPid:\t[1-9]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))));
    return strace;
  }

  /** Lets go of the processes, and leaves the trace. */
  async stop() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exit = once(this.process, "exit");
    // strace detaches and ends.
    this.process.kill("SIGINT");
    await exit;
  }

  /** Every write whose bytes have one of `texts`: {pid, fd, what}, `what` being what the descriptor is. */
  async writesOf(texts) {
    const found = [];
    let writes = 0;
    const unfinished = new Map();
    for await (const line of createInterface({ input: createReadStream(this.file, "latin1"), crlfDelay: Infinity })) {
      const parsed = /^(?<pid>\d+)\s+(?:<\.\.\. \w+ resumed>|\w+\((?<fd>\d+)<(?<what>.*?)>, )(?<rest>.*)$/.exec(line);
      if (!parsed) continue;
      let { pid, fd, what } = parsed.groups;
      // A call during which another thread's was shown stands on two lines.
      if (fd === undefined) ({ fd, what } = unfinished.get(pid) ?? { fd: "?", what: "?" });
      else unfinished.set(pid, { fd, what });
      writes += 1;
      if (texts.some((text) => parsed.groups.rest.includes(text))) found.push({ pid: Number(pid), fd: Number(fd), what });
    }
    return { found, writes };
  }

  /** Whether a client's connection, which has the path of the kernel's socket, was written something with `text`. */
  async sees(text) {
    for await (const line of createInterface({ input: createReadStream(this.file, "latin1"), crlfDelay: Infinity })) {
      if (/<UNIX-STREAM:\[[^\]]*\.sock/.test(line) && line.includes(text)) return true;
    }
    return false;
  }

  remove() {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
