/** The real kernel, with real modules. */

import { chmodSync, copyFileSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { TestContext } from "node:test";

import type { ModuleOptions, StartOptions } from "@midplane/host";

import { PACKAGE, directory } from "./scene.js";

export const TARGET = process.env["MIDPLANE_TEST_TARGET"] ?? resolve(PACKAGE, "../../target/debug");
export const BINARY = join(TARGET, "midplane");
const SUFFIX = process.platform === "darwin" ? "dylib" : "so";

/** A copy that nobody else could write, whatever the umask was at the build: the kernel refuses any other. */
export function moduleFile(place: string, name: string): string {
  const path = join(place, `libmidplane_${name}.${SUFFIX}`);
  mkdirSync(place, { recursive: true, mode: 0o700 });
  copyFileSync(join(TARGET, `libmidplane_${name}.${SUFFIX}`), path);
  chmodSync(path, 0o755);
  return path;
}

/** Options for a kernel with these modules and settings of them, in a directory of its own. */
export function real(t: TestContext, modules: Readonly<Record<string, Omit<ModuleOptions, "path">>>, options: StartOptions = {}): StartOptions {
  const place = directory(t);
  const named = Object.entries(modules).map(([name, settings]) => [name, { ...settings, path: moduleFile(join(place, "modules"), name) }] as const);
  return {
    binary: BINARY,
    modules: Object.fromEntries(named),
    dataDir: join(place, "data"),
    // Below the user's own directories there may be other kernels.
    env: { XDG_RUNTIME_DIR: place },
    restart: { delaysMs: [0] },
    ...options,
  };
}
