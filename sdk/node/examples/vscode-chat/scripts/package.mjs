// Makes the .vsix for one platform, with the kernel and the modules chat and store in it. From a fresh clone, with Rust and Node:
//
//     node scripts/package.mjs [--from DIR] [--target PLATFORM] [--out FILE] [--stage]
//
//   --from DIR         where `midplane`, `libmidplane_chat.so` and `libmidplane_store.so` were built; else MIDPLANE_BUILD; else
//                      they are built here for release
//   --target PLATFORM  as vsce names it, such as linux-x64 or darwin-arm64; default: this machine's
//   --out FILE         default: midplane-chat-PLATFORM-VERSION.vsix
//   --stage            only put everything in place, to run the extension from its sources (F5)

import { execFileSync } from "node:child_process";
import { access, chmod, copyFile, mkdir, readFile, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const host = join(root, "..", "..");
const repository = join(host, "..", "..");

const { values: options } = parseArgs({
  options: {
    from: { type: "string" },
    target: { type: "string", default: `${process.platform}-${process.arch}` },
    out: { type: "string" },
    stage: { type: "boolean", default: false },
  },
});
const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
const out = resolve(options.out ?? join(root, `midplane-chat-${options.target}-${version}.vsix`));

await install();
await stage(options.from ?? process.env.MIDPLANE_BUILD ?? build());
run("node", ["scripts/build.mjs"], root);
if (!options.stage) {
  // Everything is bundled: node_modules is not looked at.
  run("npx", ["vsce", "package", "--no-dependencies", "--allow-missing-repository", "--target", options.target, "--out", out], root);
}

async function install() {
  run(join(host, "scripts", "build"), [], host);
  if (!(await exists(join(root, "node_modules")))) {
    run("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], root);
  }
}

function build() {
  run("cargo", ["build", "--release", "--package", "midplane", "--package", "midplane-chat-module", "--package", "midplane-store-module"], repository);
  return join(process.env.CARGO_TARGET_DIR ?? join(repository, "target"), "release");
}

/** Only what the extension starts: a module's file is loaded from a directory that nobody else may write. */
async function stage(from) {
  const suffix = options.target.startsWith("darwin") ? "dylib" : "so";
  const directories = {
    bin: ["midplane"],
    modules: ["chat", "store"].map((name) => `libmidplane_${name}.${suffix}`),
  };
  for (const [directory, names] of Object.entries(directories)) {
    await rm(join(root, directory), { recursive: true, force: true });
    await mkdir(join(root, directory), { recursive: true });
    await chmod(join(root, directory), 0o755);
    for (const name of names) {
      const source = resolve(from, name);
      if (!(await exists(source))) throw new Error(`there is no ${source}: build it, or say with --from where it is`);
      await copyFile(source, join(root, directory, name));
      await chmod(join(root, directory, name), 0o755);
    }
  }
}

function run(program, args, cwd) {
  execFileSync(program, args, { cwd, stdio: "inherit" });
}

async function exists(path) {
  return access(path).then(
    () => true,
    () => false,
  );
}
