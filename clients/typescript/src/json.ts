import {
  createRegistry,
  type DescMessage,
  type JsonValue,
  type MessageShape,
  toJson as toJsonWith,
} from "@bufbuild/protobuf";
import { file_google_rpc_error_details } from "./gen/google/rpc/error_details_pb.js";

// What a `Status` has as its details, which name their type only.
const registry = createRegistry(file_google_rpc_error_details);

/**
 * The JSON form of a message, which `JSON.stringify` takes: numbers of 64 bits are texts, bytes are
 * base64, times RFC 3339, as in every program that speaks ProtoJSON.
 *
 * @example
 * console.log(JSON.stringify(toJson(CaptureSchema, capture)));
 */
export function toJson<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
): JsonValue {
  return toJsonWith(schema, message, { registry });
}
