/** The page's files. They are few, and read once: no request names a path on the disk. */

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { extname } from "node:path";
import type { FastifyInstance } from "fastify";

const STATIC = new URL("../../page/static/", import.meta.url);
const COMPILED = new URL("../page/", import.meta.url);
const TYPES: Record<string, string> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

export async function pageRoutes(app: FastifyInstance): Promise<void> {
  for (const folder of [STATIC, COMPILED]) {
    for (const name of await readdir(folder)) {
      const type = TYPES[extname(name)];
      if (type) serve(name === "index.html" ? "/" : `/${name}`, type, new URL(name, folder));
    }
  }

  function serve(path: string, type: string, file: URL): void {
    const content = readFile(file).then((bytes) => {
      const etag = `"${createHash("sha256").update(bytes).digest("base64url")}"`;
      return { bytes, etag };
    });
    app.get(path, async (request, reply) => {
      const { bytes, etag } = await content;
      reply.headers({ "cache-control": "no-cache", etag });
      if (request.headers["if-none-match"] === etag) return reply.code(304).send();
      return reply.type(type).send(bytes);
    });
  }
}
