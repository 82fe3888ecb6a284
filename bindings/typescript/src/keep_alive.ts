// Heartbeats for as long as somebody wants a sandbox.
import "./dispose.js";
import { CrowNestError, isResumable } from "./errors.js";
import { backoffMs } from "./time.js";

export interface KeepAliveOptions {
  /**
   * Called once when the sandbox cannot be kept any more, because it has ended or the key may not.
   * A service that is away for a while is no such reason.
   */
  onError?: (error: unknown) => void;
}

/**
 * Renews a lease until it is stopped: three times in its length. It does not keep the process alive,
 * so a sandbox ends with its lease when the process that wanted it is gone.
 */
export class KeepAlive implements Disposable {
  readonly #beat: (timeoutMs: number) => Promise<Date>;
  readonly #intervalMs: number;
  readonly #options: KeepAliveOptions;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #stopped = false;
  #leaseExpireTime: Date | null = null;

  /** @internal `beat` renews once, within a time, and says until when. */
  constructor(
    beat: (timeoutMs: number) => Promise<Date>,
    leaseSeconds: number,
    options: KeepAliveOptions,
  ) {
    this.#beat = beat;
    this.#intervalMs = (leaseSeconds * 1000) / 3;
    this.#options = options;
    // At once: nobody knows when it was renewed last.
    void this.#renew();
  }

  /** When the lease runs out unless it is renewed; `null` before the first answer. */
  get leaseExpireTime(): Date | null {
    return this.#leaseExpireTime;
  }

  /** Ends the renewing; the lease runs out by itself. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** As `stop`. */
  [Symbol.dispose](): void {
    this.stop();
  }

  async #renew(): Promise<void> {
    try {
      this.#leaseExpireTime = await this.#beat(this.#intervalMs);
      this.#failures = 0;
      this.#schedule(this.#intervalMs);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (this.#stopped) return;
    const late = error instanceof CrowNestError && error.code === "DEADLINE_EXCEEDED";
    if (isResumable(error) || late) {
      return this.#schedule(Math.min(backoffMs(++this.#failures), this.#intervalMs));
    }
    this.stop();
    this.#options.onError?.(error);
  }

  #schedule(ms: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#renew(), ms);
    this.#timer.unref();
  }
}
