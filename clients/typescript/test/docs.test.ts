/** Everything that users can import is documented, with an example. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as client from "../src/index.js";

const source = (name: string) =>
  readFileSync(new URL(`../../src/${name}`, import.meta.url), "utf8");
const EXPORTED =
  /(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?^export (?:\w+ )*?(function|const|interface|type) (\w+)/gm;

test("every export has a comment with an example", () => {
  const documented: string[] = [];
  for (const [, names, file = ""] of source("index.ts").matchAll(
    /^export (?:type )?(\*|\{[^}]*\}) from "\.\/(?!gen)(\w+)\.js";/gm,
  )) {
    for (const [, comment = "", , name = ""] of source(`${file}.ts`).matchAll(EXPORTED)) {
      if (names !== "*" && !names?.match(new RegExp(`\\b${name}\\b`))) continue;
      assert.match(comment, /\n \* @example\n \* \S/, `${file}.ts: ${name}`);
      documented.push(name);
    }
  }
  const generated = /_pb$|Schema$|^file_|_|^CameraService$|^Code$|^ConnectError$/;
  const functions = Object.keys(client).filter((name) => !generated.test(name));
  for (const name of functions) assert.ok(documented.includes(name), name);
  assert.ok(documented.length >= 25, `${documented}`);
});
