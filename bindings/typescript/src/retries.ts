// How long to go on trying what failed because the service could not be reached.
import type { CrowNestError } from "./errors.js";
import { backoffMs } from "./time.js";

export interface RetryLimits {
  /** How many tries may follow the first one, in a row. */
  maxRetries: number;
  /** How long after the first failure another try may begin, in milliseconds. */
  windowMs: () => number;
}

/** The failures in a row of one call or stream. */
export class Retries {
  readonly #limits: RetryLimits;
  #failures = 0;
  #since = 0;

  constructor(limits: RetryLimits) {
    this.#limits = limits;
  }

  /** It works again: what fails from now on is counted anew. */
  reset(): void {
    this.#failures = 0;
  }

  /** Counts a failure. Milliseconds to wait before the next try, or null to give up. */
  next(error: CrowNestError): number | null {
    const now = performance.now();
    if (this.#failures++ === 0) this.#since = now;
    if (this.#failures > this.#limits.maxRetries) return null;
    const wait = backoffMs(this.#failures, error.retryAfterMs);
    return now + wait - this.#since <= this.#limits.windowMs() ? wait : null;
  }
}
