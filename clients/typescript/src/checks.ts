/**
 * What a call is given, looked at before it is made. TypeScript refuses a wrong name; JavaScript and
 * a spread object pass it on, and it would be as if it had not been said.
 */

import type { DescMessage } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

const CALL_OPTIONS = ["timeoutMs", "signal", "headers", "onHeader", "onTrailer", "contextValues"];
const MOST_TIMEOUT_MS = 99_999_999; // the header has eight digits; 27 hours

/** Refuses options that do not exist. */
export function known(what: string, options: object, names: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!names.includes(name))
      throw refusal(`${what} have no "${name}"; allowed: ${names.join(", ")}`);
  }
}

/** Refuses a number that is out of bounds, or none. */
export function bounded(name: string, value: number, least: number, most: number): void {
  if (value >= least && value <= most) return;
  throw new RangeError(`${name} is ${value}; allowed: ${least} to ${most}`);
}

/** The options of a call, for connect: 0 is for no time-out, and so is what its timers cannot count. */
export function callOptions<O extends { timeoutMs?: number | undefined }>(options: O): O {
  known("the options of a call", options, CALL_OPTIONS);
  const { timeoutMs } = options;
  if (timeoutMs === undefined) return options;
  if (!(timeoutMs >= 0)) throw refusal(`timeoutMs is ${timeoutMs}; allowed: 0 (none) and more`);
  return { ...options, timeoutMs: timeoutMs > MOST_TIMEOUT_MS ? 0 : timeoutMs };
}

/** Refuses fields that a message does not have, also in the messages within. */
export function checkFields(message: DescMessage, value: unknown): void {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  for (const [name, given] of Object.entries(value)) {
    if (name === "$typeName" || name === "$unknown" || given === undefined) continue;
    const member = message.members.find(({ localName }) => localName === name);
    if (!member) {
      const names = message.members.map(({ localName }) => localName);
      throw refusal(`${message.name} has no "${name}"; allowed: ${names.join(", ")}`);
    }
    if (member.kind === "oneof") {
      const { case: chosen, value: inner } = given as { case?: string; value?: unknown };
      const field = member.fields.find(({ localName }) => localName === chosen);
      if (chosen !== undefined && !field) {
        const names = member.fields.map(({ localName }) => localName);
        throw refusal(`${message.name}.${name} has no "${chosen}"; allowed: ${names.join(", ")}`);
      }
      if (field?.message) checkFields(field.message, inner);
    } else if (member.message) {
      const each = member.fieldKind === "message" ? [given] : Object.values(given as object);
      for (const inner of each) checkFields(member.message, inner);
    }
  }
}

function refusal(message: string): ConnectError {
  return new ConnectError(message, Code.InvalidArgument);
}
