// Bundles the extension and its page into dist/, everything in it, so that a package needs no node_modules.
//
//     node scripts/build.mjs [--watch] [--dev] [--tests]
//
//   --watch   build again when a source changes
//   --dev     also the page on its own with a scripted backend, for a browser: dist/dev/
//   --tests   also the tests: dist/test/

import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import * as esbuild from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const flags = new Set(process.argv.slice(2));
const inRoot = (...parts) => join(root, ...parts);

const common = {
  absWorkingDir: root,
  bundle: true,
  minify: !flags.has("--watch"),
  sourcemap: flags.has("--watch"),
  // The notices file has the whole licences.
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
};

const extension = {
  ...common,
  entryPoints: ["src/extension.ts"],
  outfile: "dist/extension.js",
  platform: "node",
  format: "cjs",
  // Node of the oldest VS Code in `engines`.
  target: "node20.18",
  external: ["vscode"],
};

const page = {
  ...common,
  entryPoints: ["webview/main.tsx"],
  outdir: "dist/webview",
  platform: "browser",
  format: "iife",
  target: "chrome128",
  jsx: "automatic",
  jsxImportSource: "preact",
  loader: { ".ttf": "file" },
  assetNames: "[name]",
};

const dev = {
  ...page,
  outdir: "dist/dev",
  alias: { "@midplane/host/webview/page": inRoot("webview/dev/page.ts") },
};

async function tests() {
  const files = (await readdir(inRoot("test"))).filter((name) => name.endsWith(".test.ts") || name === "pictures.ts");
  return {
    ...common,
    minify: false,
    entryPoints: files.map((name) => `test/${name}`),
    outdir: "dist/test",
    outExtension: { ".js": ".mjs" },
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    alias: { vscode: inRoot("test/stub/vscode.ts") },
    jsx: "automatic",
    jsxImportSource: "preact",
  };
}

await rm(inRoot("dist"), { recursive: true, force: true });
const builds = [extension, page];
if (flags.has("--dev")) {
  builds.push(dev);
  await mkdir(inRoot("dist/dev"), { recursive: true });
  await copyFile(inRoot("webview/dev/index.html"), inRoot("dist/dev/index.html"));
}
if (flags.has("--tests")) builds.push(await tests());

if (flags.has("--watch")) {
  const contexts = await Promise.all(builds.map((options) => esbuild.context(options)));
  await Promise.all(contexts.map((context) => context.watch()));
} else {
  const [...built] = await Promise.all(builds.map((options) => esbuild.build(options)));
  await writeNotices(built.slice(0, 2));
}

/** The licences of what was bundled, which they ask to be passed on. */
async function writeNotices(built) {
  const packages = new Set();
  for (const input of built.flatMap(({ metafile }) => Object.keys(metafile.inputs))) {
    const name = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];
    if (name) packages.add(name);
  }
  const notices = [];
  for (const directory of [...packages].sort()) {
    const { name, version, license } = JSON.parse(await readFile(inRoot(directory, "package.json"), "utf8"));
    const files = (await readdir(inRoot(directory))).filter((file) => /^(licen[cs]e|copying)/i.test(file));
    const texts = await Promise.all(files.map((file) => readFile(inRoot(directory, file), "utf8")));
    notices.push([`${name} ${version} (${license})`, ...texts.map((text) => text.trim())].join("\n\n"));
  }
  await writeFile(inRoot("dist/NOTICES.txt"), notices.join(`\n\n${"-".repeat(72)}\n\n`) + "\n");
}
