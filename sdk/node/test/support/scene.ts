/** What every test needs: a directory of its own, kernels that are stopped in the end, and waiting for events with a deadline. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { type Kernel, type KernelState, type StartOptions, startKernel } from "@midplane/host";

/** sdk/node, from dist/test/test/support. */
export const PACKAGE = resolve(dirname(fileURLToPath(import.meta.url)), "../../../..");
const FAKE = join(PACKAGE, "test/support/fake_kernel.mjs");

/** Far above what anything here takes, on a machine that does other things too. */
export const DEADLINE_MS = 30_000;

export function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "midplane-node-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** What the scripted kernel is told; see support/fake_kernel.mjs. */
export type Part = Readonly<Record<string, unknown>>;

/** Options that start the scripted kernel. */
export function scripted(t: TestContext, part: Part = {}, options: StartOptions = {}): StartOptions {
  const script = JSON.stringify({ directory: directory(t), ...part });
  return { restart: { delaysMs: [0] }, ...options, binary: FAKE, env: { ...options.env, FAKE_KERNEL: script } };
}

export async function start(t: TestContext, options: StartOptions): Promise<Kernel> {
  const kernel = await startKernel(options);
  t.after(() => kernel.dispose());
  return kernel;
}

/** Resolves when the kernel is in this state; call it before what leads there. */
export function reaches(kernel: Kernel, state: KernelState): Promise<Error | undefined> {
  return soon(`the state ${state}`, (done) => {
    const listening = kernel.onState((now, why) => {
      if (now === state) {
        listening.dispose();
        done(why);
      }
    });
  });
}

/** What `begin` calls `done` with, before the deadline. */
export function soon<T>(what: string, begin: (done: (value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} did not come within ${DEADLINE_MS} ms`)), DEADLINE_MS);
    begin((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

/** Whether a process of this id is there; a zombie is not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
