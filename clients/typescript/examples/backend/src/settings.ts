/** The backend's settings: by flags, else by the environment, else the defaults. */

import { parseArgs } from "node:util";

export interface Settings {
  /** Where the camera service is, as host:port. */
  service: string;
  host: string;
  port: number;
  /** Under which further origins browsers may reach the page, such as "https://cams.example.org". */
  origins: string[];
}

export const USAGE = `Usage: npm start -- [--service HOST:PORT] [--host HOST] [--port PORT] [--origin URL ...]

  --service  the camera service          CAMSVC_ADDRESS  127.0.0.1:50051
  --host     where to listen             HOST            127.0.0.1
  --port     0 takes a free one          PORT            8080
  --origin   how browsers may name the   ORIGINS, with   localhost and IP addresses
             backend besides; repeatable spaces between
  --help     this`;

/** The settings are wrong; the message says how. */
export class SettingsError extends Error {}

const FLAGS = {
  service: { type: "string" },
  host: { type: "string" },
  port: { type: "string" },
  origin: { type: "string", multiple: true },
  help: { type: "boolean" },
} as const;

/** Reads the settings; undefined when only help was wanted. */
export function readSettings(args: string[], env: NodeJS.ProcessEnv): Settings | undefined {
  const flags = parsed(args);
  if (flags.help) return undefined;
  const service = flags.service ?? env["CAMSVC_ADDRESS"] ?? "127.0.0.1:50051";
  if (!/^([\w.-]+|\[[\da-f:.]+\]):\d{1,5}$/i.test(service)) {
    throw new SettingsError(`service "${service}" is not HOST:PORT, such as 127.0.0.1:50051`);
  }
  const host = flags.host ?? env["HOST"] ?? "127.0.0.1";
  if (!/^[\w.:-]+$/.test(host)) {
    throw new SettingsError(`host "${host}" is not a name or IP address, such as 127.0.0.1 or ::1`);
  }
  const port = flags.port ?? env["PORT"] ?? "8080";
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new SettingsError(`port "${port}" is not a number from 0 to 65535`);
  }
  const origins = flags.origin ?? env["ORIGINS"]?.split(/\s+/).filter(Boolean) ?? [];
  return { service, host, port: Number(port), origins: origins.map(asOrigin) };
}

function parsed(args: string[]) {
  try {
    return parseArgs({ args, options: FLAGS }).values;
  } catch (error) {
    throw new SettingsError((error as Error).message);
  }
}

function asOrigin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || !["", "/"].includes(url.pathname + url.search)) {
    throw new SettingsError(`origin "${text}" is not like http://cameras.local:8080`);
  }
  return url.origin;
}
