/** The package as others get it: installed, compiled against and run in an empty project. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { camera, Service } from "./support/service.js";

const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));
const run = promisify(execFile);

/** Runs npm; warnings fail, but those about the settings of this machine. */
async function npm(cwd: string, ...words: string[]): Promise<string> {
  const { stdout, stderr } = await run("npm", words, { cwd, shell: process.platform === "win32" });
  const warnings = stderr.split("\n").filter((line) => /warn/i.test(line));
  assert.deepEqual(
    warnings.filter((line) => !/unknown .* config/i.test(line)),
    [],
  );
  return stdout;
}

async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true });
  const found = await Promise.all(names.map((name) => stat(join(folder, name))));
  return found.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
}

test("it installs, type-checks and runs the README's example in an empty project", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "camsvc-project-"));
  t.after(() => rm(folder, { recursive: true }));
  // `pretest` has built it: building it again would take it from other tests for a moment.
  const pack = ["pack", "--ignore-scripts", "--json", "--pack-destination", folder];
  const [packed] = JSON.parse(await npm(PACKAGE, ...pack));
  await writeFile(join(folder, "package.json"), '{ "type": "module", "private": true }');
  await npm(folder, "install", "--prefer-offline", "--no-audit", "--no-fund", packed.filename);
  const modules = join(folder, "node_modules");
  const installed = await readdir(modules, { recursive: true });
  const packages = installed.filter((name) => /^@[^/\\]+[/\\][^/\\]+$/.test(name));
  const kb = (bytes: number) => `${(bytes / 1e3).toFixed()} KB`;
  const own = await sizeOf(join(modules, "@camsvc"));
  const whole = await sizeOf(modules);
  t.diagnostic(
    `packed ${kb(packed.size)}, unpacked ${kb(own)}; with its dependencies (${
      packages.length - 1
    }) ${kb(whole)}`,
  );
  assert.equal(packages.length, 4);

  const readme = await readFile(join(PACKAGE, "README.md"), "utf8");
  const [, packedKb, wholeMb] = readme.match(/\((\d+) KB\)[\s\S]*?([\d.]+) MB\s+in all/) ?? [];
  assert.ok(Math.abs(packed.size / 1e3 - Number(packedKb)) < 3, "the README says how large it is");
  assert.ok(Math.abs(whole / 1e6 - Number(wholeMb)) < 0.1, "and with its dependencies");
  const examples = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code ?? "");
  const first = examples[0] ?? "";
  assert.ok(first.split("\n").filter((line) => line.trim()).length <= 10, "ten lines");
  const service = await Service.start(t, camera("sim0"));
  await writeFile(join(folder, "example.ts"), first.replace("127.0.0.1:50051", service.address));
  await Promise.all(
    examples.map((code, index) => writeFile(join(folder, `readme${index}.ts`), code)),
  );
  // Nothing is skipped, and there are no types of Node or of browsers: the package needs none.
  const lib = ["es2022"];
  const options = { strict: true, module: "nodenext", target: "es2022", types: [], lib };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options }));
  const tsc = join(PACKAGE, "node_modules", "typescript", "bin", "tsc");
  await run(process.execPath, [tsc, "-p", folder]).catch((error) => assert.fail(error.stdout));

  const { stdout, stderr } = await run(process.execPath, ["example.js"], { cwd: folder });
  assert.equal(stderr, "");
  assert.match(stdout, /^a picture of \d+ bytes\n/);
  assert.match(stdout, /\nframe 2\d, \d+ bytes\n$/);
});
