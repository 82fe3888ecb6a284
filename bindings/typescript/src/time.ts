// Durations as the protos have them and as callers write them.
import type { Duration } from "./gen/google/protobuf/duration.js";
import { InvalidArgumentError } from "./errors.js";

/** Seconds, with a fraction, to a Duration; `field` is named when it is not a number. */
export function durationFromSeconds(
  seconds: number | undefined,
  field: string,
): Duration | undefined {
  if (seconds === undefined) return undefined;
  if (!Number.isFinite(seconds)) {
    throw new InvalidArgumentError(`${field} must be a number of seconds.`, {
      code: "INVALID_ARGUMENT",
      field,
    });
  }
  const whole = Math.trunc(seconds);
  return { seconds: whole, nanos: Math.round((seconds - whole) * 1e9) };
}

/** A Duration in milliseconds. */
export function durationToMs(duration: Duration): number {
  return duration.seconds * 1000 + duration.nanos / 1e6;
}

/** Waits, or rejects with the signal's reason as soon as it is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

const BACKOFF_BASE_MS = 100;
const BACKOFF_CAP_MS = 2000;

/**
 * How long to wait before attempt `failures + 1`: doubling from 100 ms to 2 s, the upper half of
 * it random so that many clients do not come back at once, and never less than the service asked for.
 */
export function backoffMs(failures: number, retryAfterMs = 0): number {
  const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.max(0, failures - 1));
  return Math.max(retryAfterMs, ceiling * (0.5 + Math.random() / 2));
}
