// Which processes a scene has, read from /proc. It ends none but those that it is given.

import { readFileSync, readdirSync, readlinkSync } from "node:fs";

import { until } from "./wait.mjs";

/** Set for everything a scene starts, so that what has lost its parent is found, too. */
export const MARK = "MIDPLANE_TEST_SCENE";

/** Every process that can be looked at. One that ends meanwhile is left out. */
export function processes() {
  const found = [];
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      // The name may have spaces and parentheses of its own: what follows begins after the last one.
      const [state, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (state === "Z") continue;
      found.push({
        pid: Number(pid),
        ppid: Number(ppid),
        arguments: readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1),
        environ: read(`/proc/${pid}/environ`),
        exe: link(`/proc/${pid}/exe`),
      });
    } catch {
      // It has ended.
    }
  }
  return found;
}

/** The kernels and module processes whose program is below `root`: that is where the extension was installed. */
export function midplanes(root) {
  return processes().filter(({ exe, arguments: [, command] }) => exe.startsWith(`${root}/`) && (command === "serve" || command === "worker"));
}

export const kernels = (root) => midplanes(root).filter(({ arguments: [, command] }) => command === "serve");
export const workers = (root) => midplanes(root).filter(({ arguments: [, command] }) => command === "worker");

/** The extension hosts of the scene at `root`, youngest last. */
export function extensionHosts(root) {
  return processes()
    .filter(({ arguments: words, environ }) => words.includes("--type=extensionHost") && environ.includes(`${MARK}=${root}\0`))
    .sort((a, b) => a.pid - b.pid);
}

/** Everything that carries the scene's mark or runs a program of it. */
export function allOf(root) {
  return processes().filter(({ exe, environ, pid }) => pid !== process.pid && (exe.startsWith(`${root}/`) || environ.includes(`${MARK}=${root}\0`)));
}

export const isAlive = (pid) => processes().some((process) => process.pid === pid);

export function gone(what, pids, deadline_ms) {
  return until(`${what} (${pids.join(", ")}) to end`, () => !processes().some(({ pid }) => pids.includes(pid)), deadline_ms);
}

/** The inodes of a process's sockets, as text. */
export function sockets(pid) {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => link(`/proc/${pid}/fd/${fd}`));
  return new Set(links.map((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1]).filter(Boolean));
}

/** The ports on which a process listens for TCP, of both families. */
export function tcpListeners(pid) {
  const inodes = sockets(pid);
  return ["tcp", "tcp6"].flatMap((family) =>
    read(`/proc/${pid}/net/${family}`)
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      // proc(5): state 0A is LISTEN, the tenth column is the inode.
      .filter((row) => row[3] === "0A" && inodes.has(row[9]))
      .map((row) => Number.parseInt(row[1].split(":")[1], 16)),
  );
}

/** One line each, as for `ps`; never the environment. */
export function describe(list) {
  return list.map(({ pid, ppid, arguments: words }) => `${pid} ${ppid} ${words.join(" ").slice(0, 300)}`).join("\n");
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function link(path) {
  try {
    return readlinkSync(path).replace(/ \(deleted\)$/, "");
  } catch {
    return "";
  }
}
