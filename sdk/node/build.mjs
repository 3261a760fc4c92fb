// Compiles src/ twice, to dist/esm and dist/cjs. The page's half of the webview relay is checked once more, against a browser's
// library and without Node's types, so that nothing of Node can creep into it.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");

function compile(project) {
  const { status } = spawnSync(process.execPath, [compiler, "--project", join(here, project)], { stdio: "inherit" });
  if (status !== 0) {
    process.exit(status ?? 1);
  }
}

rmSync(join(here, "dist"), { recursive: true, force: true });
compile("tsconfig.json");
compile("tsconfig.cjs.json");
if (existsSync(join(here, "src/webview/page.ts"))) {
  compile("tsconfig.page.json");
}
// The nearest package.json says what a .js file is.
for (const [format, type] of [["esm", "module"], ["cjs", "commonjs"]]) {
  mkdirSync(join(here, "dist", format), { recursive: true });
  writeFileSync(join(here, "dist", format, "package.json"), `${JSON.stringify({ type })}\n`);
}
