// What is published: its types, both module systems, and the packed file in somebody else's project.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";

import ts from "typescript";

import { BINARY, moduleFile } from "./support/real.js";
import { PACKAGE, directory } from "./support/scene.js";

const DIST = join(PACKAGE, "dist");

function filesIn(place: string, ending: string): string[] {
  return readdirSync(place, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(ending)).map((name) => join(place, name));
}

test("no any is in the types", () => {
  const found: string[] = [];
  for (const file of [...filesIn(join(DIST, "esm"), ".d.ts"), ...filesIn(join(DIST, "cjs"), ".d.ts")]) {
    const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true);
    const visit = (node: ts.Node): void => {
      if (node.kind === ts.SyntaxKind.AnyKeyword) {
        found.push(`${file}: ${node.parent.getText()}`);
      }
      ts.forEachChild(node, visit);
    };
    visit(source);
  }
  assert.deepEqual(found, []);
});

test("the page's half needs nothing of Node, and nothing that is installed", () => {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) {
      return;
    }
    seen.add(file);
    for (const [, from] of readFileSync(file, "utf8").matchAll(/\b(?:from|import)\s*\(?["']([^"']+)["']/g)) {
      assert(from !== undefined && from.startsWith("."), `${file} imports ${from}`);
      visit(join(dirname(file), from));
    }
  };
  visit(join(DIST, "esm/webview/page.js"));
  assert(seen.size > 0);
});

test("the packed file installs, and works by import and by require", (t) => {
  const place = directory(t);
  const run = (program: string, args: readonly string[], cwd = place) => execFileSync(program, [...args], { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  // Built already; scripts would build it again under the other tests.
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", place], PACKAGE)) as [{ filename: string; files: { path: string }[] }];
  const paths = packed.files.map(({ path }) => path);
  assert(paths.includes("dist/cjs/package.json") && paths.includes("README.md"), paths.join());
  assert(!paths.some((path) => /(^|\/)(test|src|examples|node_modules)\//.test(path)), paths.join());

  const project = join(place, "project");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
  run("npm", ["install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", join(place, packed.filename)], project);
  const installed = join(project, "node_modules/@midplane/host");
  assert(existsSync(join(installed, "dist/esm/index.js")) && !existsSync(join(installed, "node_modules")));

  const hello = moduleFile(join(place, "modules"), "hello");
  const options = JSON.stringify({ binary: BINARY, modules: { hello }, dataDir: join(place, "data"), env: { XDG_RUNTIME_DIR: place } });
  const use = `
    const kernel = await startKernel(${options});
    const session = await kernel.createSession({ user: "ada" });
    console.log(await (await session.fetch("/api/hello/hello")).text());
    await kernel.dispose();`;
  writeFileSync(join(project, "by-import.mjs"), `import { startKernel } from "@midplane/host";\nimport "@midplane/host/webview";\nimport "@midplane/host/webview/page";\n${use}`);
  writeFileSync(
    join(project, "by-require.cjs"),
    `const { startKernel, MidplaneError } = require("@midplane/host");\nrequire("@midplane/host/webview");\nrequire("@midplane/host/webview/page");\n(async () => {${use}})();`,
  );
  for (const file of ["by-import.mjs", "by-require.cjs"]) {
    assert.equal(run(process.execPath, [file], project), "hello ada\n", file);
  }
  checkTypes(project);
});

/** A consumer's own program, with every check on, in both module systems. */
function checkTypes(project: string): void {
  const program = `
    import { MidplaneError, startKernel, type Kernel, type SecretStore } from "@midplane/host";
    import { relayFetch } from "@midplane/host/webview";
    export async function use(secrets: SecretStore): Promise<string> {
      const kernel: Kernel = await startKernel({ secrets, modules: { chat: { path: "chat.so", config: { provider: "echo" } } } });
      const session = await kernel.createSession({ secretKeyId: "key" });
      const passes: typeof globalThis.fetch = session.fetch;
      const answer = await passes("/api/chat/threads", { signal: AbortSignal.timeout(1000) });
      session.webSocket("/api/chat/socket").addEventListener("message", ({ data }) => console.log(data));
      kernel.onState((state) => console.log(state satisfies "starting" | "ready" | "restarting" | "stopped" | "failed"));
      // @ts-expect-error: there is no such member
      kernel.hostKey;
      // @ts-expect-error: a number of seconds
      await kernel.createSession({ expiresIn: "10m" });
      if (!answer.ok) throw new MidplaneError("mine", typeof relayFetch);
      return answer.text();
    }`;
  writeFileSync(join(project, "program.mts"), program);
  writeFileSync(join(project, "program.cts"), program);
  const options: ts.CompilerOptions = {
    ...{ strict: true, noEmit: true, skipLibCheck: false, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
    ...{ module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022, lib: ["lib.es2022.d.ts"] },
    ...{ types: ["node"], typeRoots: [join(PACKAGE, "node_modules/@types")] },
  };
  const checked = ts.createProgram([join(project, "program.mts"), join(project, "program.cts")], options);
  const complaints = ts.getPreEmitDiagnostics(checked).map(({ file, messageText }) => `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`);
  assert.deepEqual(complaints, []);
}

test("what package.json names is there", () => {
  const manifest = createRequire(import.meta.url)("@midplane/host/package.json") as { exports: Record<string, unknown>; main: string; types: string };
  const targets = (value: unknown): string[] => (typeof value === "string" ? [value] : Object.values(value ?? {}).flatMap(targets));
  for (const target of [...targets(manifest.exports), manifest.main, manifest.types]) {
    assert(existsSync(join(PACKAGE, target)), target);
  }
});
