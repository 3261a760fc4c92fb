/** Turns what the caller says of modules and settings into arguments of `midplane serve`, and a file where one is needed. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { MidplaneError } from "./errors.js";
import type { ModuleOptions, StartOptions } from "./options.js";
import type { JsonObject } from "./protocol.js";
import { toToml } from "./toml.js";

/** Arguments that stay good for every start until `remove`. */
export interface Configuration {
  readonly args: readonly string[];
  remove(): Promise<void>;
}

type Wanted = Pick<StartOptions, "config" | "modules" | "dataDir" | "socket" | "log" | "args">;

/** The file is this user's alone, in a directory that is; the kernel refuses any other. */
export async function writeConfiguration(wanted: Wanted): Promise<Configuration> {
  const rest = [
    ...(wanted.dataDir === undefined ? [] : ["--data-dir", resolve(wanted.dataDir)]),
    ...(wanted.socket === undefined ? [] : ["--socket", resolve(wanted.socket)]),
    ...(wanted.args ?? []),
  ];
  if (typeof wanted.config === "string") {
    const args = ["--config", resolve(wanted.config), ...moduleFlags(wanted.modules ?? {}), ...rest];
    return { args, remove: async () => undefined };
  }
  const text = toToml(documentOf(wanted.config ?? {}, wanted.modules ?? {}, wanted.log));
  const directory = await mkdtemp(join(tmpdir(), "midplane-host-"));
  const file = join(directory, "midplane.toml");
  await writeFile(file, text, { mode: 0o600 });
  return { args: ["--config", file, ...rest], remove: () => rm(directory, { recursive: true, force: true }) };
}

/** The file's tables; `modules` wins over what `config` says of the same module, and `log` is the filter unless it has one. */
export function documentOf(
  config: JsonObject,
  modules: Readonly<Record<string, ModuleOptions | string>>,
  log: string | undefined,
): JsonObject {
  const kernel = tableOf(config, "kernel");
  const configured = tableOf(config, "modules");
  const given = Object.entries(modules).map(([name, module]) => {
    const options = typeof module === "string" ? { path: module } : module;
    return [name, { ...tableOf(configured, name), ...options, path: resolve(options.path) }] as const;
  });
  return {
    ...config,
    kernel: { ...(log === undefined ? {} : { log_filter: log }), ...kernel },
    modules: { ...configured, ...Object.fromEntries(given) },
  };
}

function moduleFlags(modules: Readonly<Record<string, ModuleOptions | string>>): string[] {
  return Object.entries(modules).flatMap(([name, module]) => {
    if (typeof module !== "string" && Object.keys(module).some((setting) => setting !== "path")) {
      throw new MidplaneError("invalid_options", `the module ${name} has settings, and \`config\` is a file`, {
        hint: `write them into [modules.${name}] of that file, or give \`config\` as tables`,
      });
    }
    return ["--module", `${name}=${resolve(typeof module === "string" ? module : module.path)}`];
  });
}

function tableOf(document: JsonObject, name: string): JsonObject {
  const table = document[name] ?? {};
  if (typeof table !== "object" || Array.isArray(table)) {
    throw new MidplaneError("invalid_options", `\`${name}\` in the configuration is no table`);
  }
  return table as JsonObject;
}
