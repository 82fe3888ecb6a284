// The errors of the SDK. Every failure of a call is a CrowNestError; its subclass follows the gRPC
// status code and its `reason` is the service's stable name for what went wrong.
import { status as Status, type ServiceError } from "@grpc/grpc-js";
import {
  BadRequest,
  ErrorInfo,
  RequestInfo,
  RetryInfo,
  Status as RpcStatus,
} from "./gen/private/google_rpc.js";
import { durationToMs } from "./time.js";

/** A gRPC status code by name, such as `NOT_FOUND`. */
export type ErrorCode = Exclude<keyof typeof Status, "OK">;

/** What an error is made of. All but `code` may be missing. */
export interface ErrorFields {
  code: ErrorCode;
  reason?: string;
  field?: string;
  remedy?: string;
  requestId?: string;
  retryable?: boolean;
  retryAfterMs?: number;
  admitted?: "yes" | "no" | "unknown";
  cause?: unknown;
}

/** The base of every error that the SDK throws. */
export class CrowNestError extends Error {
  /** The gRPC status code by name. */
  readonly code: ErrorCode;
  /** A stable name to branch on, such as `TEMPLATE_NOT_FOUND`; empty when the service sent none. */
  readonly reason: string;
  /** The request's field at fault, such as `command.cwd`; empty when none is. */
  readonly field: string;
  /** What to do about it, in words; unset when the service did not say. */
  readonly remedy?: string;
  /** The id under which the service's audit knows the request; empty when it never got there. */
  readonly requestId: string;
  /** Whether the same call may succeed later. The SDK has already used up its own retries. */
  readonly retryable: boolean;
  /** How long the service asked to wait, in milliseconds; unset when it did not. */
  readonly retryAfterMs?: number;
  /** Whether the service took the request on before it failed. */
  readonly admitted: "yes" | "no" | "unknown";
  /** The command whose stream failed; unset for other calls. It may still be running. */
  commandId?: string;
  /**
   * How many bytes of that command's log were delivered: `commands.wait(commandId, { offset })`
   * goes on from there.
   */
  logOffset?: number;

  constructor(message: string, fields: ErrorFields) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.name = new.target.name;
    this.code = fields.code;
    this.reason = fields.reason ?? "";
    this.field = fields.field ?? "";
    if (fields.remedy !== undefined) this.remedy = fields.remedy;
    this.requestId = fields.requestId ?? "";
    this.retryable = fields.retryable ?? fields.code === "UNAVAILABLE";
    if (fields.retryAfterMs !== undefined) this.retryAfterMs = fields.retryAfterMs;
    this.admitted = fields.admitted ?? "unknown";
  }
}

/** INVALID_ARGUMENT or OUT_OF_RANGE: the request itself is wrong; `field` names the place. */
export class InvalidArgumentError extends CrowNestError {}
/** UNAUTHENTICATED: no key, or one that is unknown, expired or revoked. */
export class AuthenticationError extends CrowNestError {}
/** PERMISSION_DENIED: the key lacks the scope, or the sandbox's user may not. */
export class PermissionError extends CrowNestError {}
/** NOT_FOUND: no such thing in this project. Foreign ids look the same. */
export class NotFoundError extends CrowNestError {}
/** ALREADY_EXISTS: the name is taken. */
export class AlreadyExistsError extends CrowNestError {}
/** RESOURCE_EXHAUSTED: a limit, quota, or full disk. */
export class QuotaError extends CrowNestError {}
/** FAILED_PRECONDITION: not in this state, such as a command for a sandbox that has ended. */
export class PreconditionError extends CrowNestError {}
/** DEADLINE_EXCEEDED: the call took longer than its `timeoutMs`. */
export class DeadlineError extends CrowNestError {}
/** UNAVAILABLE: the service could not be reached, also after the retries. */
export class UnavailableError extends CrowNestError {}
/**
 * The call was given up by its `signal`. `name` is `AbortError`, as the platform's own, and `cause`
 * is the signal's reason.
 */
export class CancelledError extends CrowNestError {
  constructor(message: string, fields: ErrorFields) {
    super(message, fields);
    this.name = "AbortError";
  }
}
/** Everything else: a fault of the service, or an answer that breaks its contract. */
export class InternalError extends CrowNestError {}

const CLASSES: Partial<Record<ErrorCode, typeof CrowNestError>> = {
  INVALID_ARGUMENT: InvalidArgumentError,
  OUT_OF_RANGE: InvalidArgumentError,
  UNAUTHENTICATED: AuthenticationError,
  PERMISSION_DENIED: PermissionError,
  NOT_FOUND: NotFoundError,
  ALREADY_EXISTS: AlreadyExistsError,
  RESOURCE_EXHAUSTED: QuotaError,
  FAILED_PRECONDITION: PreconditionError,
  DEADLINE_EXCEEDED: DeadlineError,
  UNAVAILABLE: UnavailableError,
  CANCELLED: CancelledError,
};

/** Makes the error whose class fits the code. */
export function makeError(message: string, fields: ErrorFields): CrowNestError {
  return new (CLASSES[fields.code] ?? InternalError)(message, fields);
}

/** Makes the error for an aborted signal. */
export function abortError(signal: AbortSignal): CancelledError {
  return new CancelledError("The call was aborted by its signal.", {
    code: "CANCELLED",
    retryable: false,
    cause: signal.reason,
  });
}

const DETAILS_KEY = "grpc-status-details-bin";
const DOMAIN = "crownest";
const TYPE_PREFIX = "type.googleapis.com/google.rpc.";

/** Whether grpc-js made it. */
export function isServiceError(error: unknown): error is ServiceError {
  return (
    error instanceof Error &&
    typeof (error as Partial<ServiceError>).code === "number" &&
    "metadata" in error
  );
}

/** Turns what grpc-js reports into a CrowNestError, with the details that the service attached. */
export function fromServiceError(error: ServiceError): CrowNestError {
  const code = (Status[error.code] ?? "UNKNOWN") as ErrorCode;
  return makeError(error.details || error.message, { ...readDetails(error), code, cause: error });
}

function readDetails(error: ServiceError): Omit<ErrorFields, "code"> {
  const fields: Omit<ErrorFields, "code"> = {};
  const raw = error.metadata?.get(DETAILS_KEY)[0];
  if (!Buffer.isBuffer(raw)) return fields;
  try {
    for (const { typeUrl, value } of RpcStatus.decode(raw).details) {
      READERS[typeUrl.startsWith(TYPE_PREFIX) ? typeUrl.slice(TYPE_PREFIX.length) : ""]?.(
        value,
        fields,
      );
    }
  } catch {
    // Something between us and the service put other bytes there: the status itself still holds.
  }
  return fields;
}

const READERS: Record<string, (value: Buffer, fields: Omit<ErrorFields, "code">) => void> = {
  ErrorInfo(value, fields) {
    const { reason, domain, metadata } = ErrorInfo.decode(value);
    if (domain !== DOMAIN) return;
    fields.reason = reason;
    if (metadata.field) fields.field = metadata.field;
    if (metadata.remedy) fields.remedy = metadata.remedy;
    if (metadata.retryable) fields.retryable = metadata.retryable === "true";
    if (metadata.admitted === "yes" || metadata.admitted === "no")
      fields.admitted = metadata.admitted;
  },
  BadRequest(value, fields) {
    const violation = BadRequest.decode(value).fieldViolations[0];
    if (violation?.field) fields.field ??= violation.field;
  },
  RetryInfo(value, fields) {
    const { retryDelay } = RetryInfo.decode(value);
    if (retryDelay) fields.retryAfterMs = durationToMs(retryDelay);
  },
  RequestInfo(value, fields) {
    fields.requestId = RequestInfo.decode(value).requestId;
  },
};

/**
 * Whether a unary call may be sent again: the service said so, or the connection broke. Safe for
 * every call of the SDK, as those that change something carry a request id or name their end state.
 */
export function isRetryable(error: unknown): error is CrowNestError {
  if (!(error instanceof CrowNestError)) return false;
  if (error.code === "UNAVAILABLE") return error.retryable;
  if (error.reason !== "") return error.retryable && error.retryAfterMs !== undefined;
  // A service that stops cancels what it cannot finish; our own aborts carry the signal's reason.
  if (error.code === "CANCELLED") return isServiceError(error.cause);
  return error.code === "INTERNAL" && /RST_STREAM|ECONNRESET|EPIPE|socket/i.test(error.message);
}

/**
 * Whether a stream that broke this way may be resumed. Wider than isRetryable, because resuming at
 * an offset repeats nothing: any break that the service did not explain counts as the connection's.
 */
export function isResumable(error: unknown): error is CrowNestError {
  if (isRetryable(error)) return true;
  if (!(error instanceof CrowNestError) || error.reason !== "") return false;
  return ["CANCELLED", "UNKNOWN", "INTERNAL", "ABORTED"].includes(error.code);
}
