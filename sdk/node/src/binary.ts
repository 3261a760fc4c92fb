/** Finds the kernel's program, and says what is wrong with one before it is started. Starts nothing. */

import { constants } from "node:fs";
import { access, open, stat } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";

import { MidplaneError, systemCode } from "./errors.js";

const PROGRAM = "midplane";

export interface BinaryPlaces {
  readonly binary: string | undefined;
  readonly binDirs: readonly string[] | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The absolute path of a program that this machine can run. The first place that is named decides: it is not passed over. */
export async function findBinary(places: BinaryPlaces): Promise<string> {
  const named = places.binary ?? (places.env["MIDPLANE_BINARY"] || undefined);
  if (named !== undefined) {
    const path = resolve(named);
    if (!(await isFile(path))) {
      const by = places.binary === undefined ? "MIDPLANE_BINARY" : "`binary`";
      throw new MidplaneError("binary_missing", `${by} names ${path}, where there is no file`);
    }
    return usable(path);
  }
  const onPath = (places.env["PATH"] ?? "").split(delimiter).filter((directory) => directory !== "");
  for (const directory of [...(places.binDirs ?? []), ...onPath]) {
    const path = resolve(join(directory, PROGRAM));
    if (await isFile(path)) {
      return usable(path);
    }
  }
  const looked = places.binDirs?.length ? `${places.binDirs.join(", ")} and PATH` : "PATH";
  throw new MidplaneError("binary_missing", `there is no ${PROGRAM} in ${looked}`, {
    hint: "give its path as `binary`, or in MIDPLANE_BINARY",
  });
}

/**
 * Why a program that starts with these bytes cannot run here, or undefined. The C library would hand a program that the system does
 * not know to the shell, whose complaint says nothing.
 */
export function foreignTo(head: Uint8Array, platform: NodeJS.Platform, arch: string): string | undefined {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (head.length >= 20 && view.getUint32(0) === ELF_MAGIC) {
    if (platform === "darwin" || platform === "win32") {
      return "it is built for Linux";
    }
    // e_ident[EI_DATA] says how e_machine is written (System V ABI, chapter 4).
    const machine = view.getUint16(18, head[5] === 1);
    const name = ELF_MACHINES.get(machine) ?? `machine ${machine}`;
    return name === arch ? undefined : `it is built for ${name}, and this is ${arch}`;
  }
  if (head.length >= 8 && MACH_O_MAGICS.has(view.getUint32(0))) {
    // The architecture is not looked at: Node may itself run under Rosetta.
    return platform === "darwin" ? undefined : "it is built for macOS";
  }
  if (head.length >= 2 && head[0] === 0x4d && head[1] === 0x5a) {
    return "it is built for Windows";
  }
  // "#!"
  return head[0] === 0x23 && head[1] === 0x21 ? undefined : "it is no program";
}

const ELF_MAGIC = 0x7f454c46;
/** 64 bit in either byte order, and universal (mach-o/loader.h, mach-o/fat.h). */
const MACH_O_MAGICS: ReadonlySet<number> = new Set([0xcffaedfe, 0xfeedfacf, 0xcafebabe, 0xcafebabf]);
/** `e_machine` by Node's names of `process.arch` (elf.h). */
const ELF_MACHINES: ReadonlyMap<number, string> = new Map([
  [3, "ia32"],
  [8, "mips"],
  [21, "ppc64"],
  [22, "s390x"],
  [40, "arm"],
  [62, "x64"],
  [183, "arm64"],
  [243, "riscv64"],
  [258, "loong64"],
]);

async function usable(path: string): Promise<string> {
  try {
    await access(path, constants.X_OK);
  } catch (cause) {
    throw new MidplaneError("binary_unusable", `${path} may not be executed`, { hint: `chmod +x ${path}`, cause });
  }
  const foreign = foreignTo(await headOf(path), process.platform, process.arch);
  if (foreign !== undefined) {
    throw new MidplaneError("binary_foreign", `${path} cannot run here: ${foreign}`, {
      hint: "an extension needs a build for each platform that it is published for",
    });
  }
  return path;
}

async function headOf(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path, "r");
    try {
      const { buffer, bytesRead } = await file.read(new Uint8Array(20), 0, 20, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new MidplaneError("binary_unusable", `${path} cannot be read: ${systemCode(cause) ?? "unknown error"}`, { cause });
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
