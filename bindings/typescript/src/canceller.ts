// What becomes of the command of a run that is given up.
import { abortError, type CrowNestError } from "./errors.js";

/** How long an aborted run waits to learn which command it has to cancel. */
const ABORT_GRACE_MS = 5000;

/** Cancels the command of a run at most once, as soon as it is known which one that is. */
export class Canceller {
  readonly #closed = new AbortController();
  readonly #cancel: (commandId: string) => Promise<unknown>;
  #commandId: string | undefined;
  #requested = false;
  #cancelling: Promise<void> | undefined;
  #grace: NodeJS.Timeout | undefined;

  constructor(cancel: (commandId: string) => Promise<unknown>, commandId: string | undefined) {
    this.#cancel = cancel;
    this.#commandId = commandId;
  }

  /** Aborted when there is no more reason to read the stream. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  started(commandId: string | undefined): void {
    this.#commandId = commandId;
    if (this.#requested) void this.request();
  }

  /** Asks for the cancel. Before `started`, the stream stays open for a while to learn the id. */
  request(): Promise<void> {
    this.#requested = true;
    if (this.#commandId === undefined) {
      this.#grace ??= setTimeout(() => this.#closed.abort(), ABORT_GRACE_MS);
      return Promise.resolve();
    }
    this.#cancelling ??= this.#cancel(this.#commandId)
      .then(() => undefined)
      // It cannot be reached; the abort is reported all the same, with the command's id.
      .catch(() => undefined)
      .finally(() => this.#closed.abort());
    return this.#cancelling;
  }

  /** Waits until the cancel is through and returns the error to throw. */
  async finish(signal: AbortSignal): Promise<CrowNestError> {
    await this.#cancelling;
    const error = abortError(signal);
    if (this.#commandId !== undefined) error.commandId = this.#commandId;
    return error;
  }

  done(): void {
    clearTimeout(this.#grace);
  }
}
