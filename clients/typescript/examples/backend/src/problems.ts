/** Errors as the HTTP API answers them: a status and a `ProblemView`. The one place that makes them. */

import {
  Code,
  ConnectError,
  isBusy,
  isRateLimited,
  isUnavailable,
  isUnreachable,
  reasonOf,
} from "@camsvc/client";
import type { FastifyError, FastifyInstance } from "fastify";
import type { ProblemView } from "../page/wire.js";

/** An error of the backend's own. */
export class BackendError extends Error {
  constructor(
    readonly statusCode: number,
    readonly reason: string,
    message: string,
  ) {
    super(message);
  }
}

/** What is known only by the code; any other is 500. */
const STATUSES = new Map([
  [Code.InvalidArgument, 400],
  [Code.NotFound, 404],
  [Code.FailedPrecondition, 409],
  [Code.ResourceExhausted, 429],
  [Code.Unavailable, 503],
  [Code.DeadlineExceeded, 504],
  // The service refuses the backend, not the browser.
  [Code.Unauthenticated, 502],
  [Code.PermissionDenied, 502],
]);

// The client's own way back is quicker; this is for a page that asks again.
const LOST_WAIT_MS = 1000;
const UNFORESEEN = "something unforeseen went wrong"; // its own words are for the log

/** Answers all errors, and paths that are not there. */
export function explainErrors(app: FastifyInstance): void {
  app.setNotFoundHandler((request) => {
    throw new BackendError(404, "NOT_FOUND", `there is no ${request.method} ${request.url}`);
  });
  app.setErrorHandler((error: FastifyError | ConnectError | BackendError, request, reply) => {
    const { status, problem } = explained(error);
    if (status === 500) request.log.error({ err: error }, problem.message);
    if (problem.waitMs !== null) reply.header("retry-after", Math.ceil(problem.waitMs / 1000));
    return reply.code(status).send(problem);
  });
}

/** The status and the body of an error. */
export function explained(error: unknown): { status: number; problem: ProblemView } {
  const problem = { reason: "INTERNAL", message: "", waitMs: null, holder: null };
  if (error instanceof BackendError) {
    const { statusCode: status, reason, message } = error;
    return { status, problem: { ...problem, reason, message } };
  }
  if (isUnreachable(error)) {
    // Its own message has the service's address.
    const message = "the camera service cannot be reached";
    const reason = "SERVICE_UNREACHABLE";
    return { status: 503, problem: { ...problem, reason, message, waitMs: LOST_WAIT_MS } };
  }
  if (error instanceof ConnectError && error.code === Code.Canceled) {
    // By us: who asked has gone, or the backend ends. Then the page asks the next one.
    const message = "the server of this page is stopping";
    return {
      status: 503,
      problem: { ...problem, reason: "STOPPING", message, waitMs: LOST_WAIT_MS },
    };
  }
  if (error instanceof ConnectError) {
    const reason = reasonOf(error) ?? snakeCase(Code[error.code]);
    const passes = isBusy(error) || isRateLimited(error) || isUnavailable(error);
    const waitMs = passes ? (error.waitMs ?? LOST_WAIT_MS) : null;
    const status = reason === "STORAGE_FULL" ? 507 : (STATUSES.get(error.code) ?? 500);
    const message = status === 500 ? UNFORESEEN : error.rawMessage;
    return { status, problem: { reason, message, waitMs, holder: holderOf(error) } };
  }
  const { statusCode = 500, message } = error as Partial<FastifyError>;
  if (statusCode < 400 || statusCode >= 500) {
    return { status: 500, problem: { ...problem, message: UNFORESEEN } };
  }
  const reason = statusCode === 400 ? "INVALID_REQUEST" : "REQUEST_REFUSED";
  return { status: statusCode, problem: { ...problem, reason, message: message ?? "" } };
}

function snakeCase(name: string): string {
  return name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

function holderOf(error: ConnectError): ProblemView["holder"] {
  if (!isBusy(error) || !error.holder) return null;
  return { captureId: error.holder.captureId, remainingMs: error.waitMs ?? null };
}
