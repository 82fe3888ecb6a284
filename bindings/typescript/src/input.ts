// The input of a running command, written by offset: what is sent again is taken once.
import { CommandServiceService, type WriteStdinResponse } from "./gen/crownest/v1/command.js";
import { abortError, CrowNestError, isResumable } from "./errors.js";
import type { Transport } from "./transport.js";

/** How input is written. */
export interface WriteStdinOptions {
  /**
   * Where the data begins in all of the command's input, in bytes: what was taken before is skipped.
   * By default where this object's last write ended, or else all that was taken so far.
   */
  offset?: number;
  /** Gives the write up: what was taken by then stays taken, and `stdinOffset` tells how much. */
  signal?: AbortSignal;
}

/** The contract's limit of one request. */
const WRITE_BYTES = 1024 * 1024;
/** How long the service holds a request while the command does not read. */
const HELD_MS = 5000;
/** Between two requests of which the first moved nothing. */
const STALLED_MS = 100;

/** Writes one command's input: one write after the other, each as long as it takes. */
export class InputWriter {
  readonly #transport: Transport;
  readonly #commandId: string;
  /** Null while only the service knows. */
  #offset: number | null;
  #last: Promise<unknown> = Promise.resolve();

  constructor(transport: Transport, commandId: string, offset: number | null) {
    this.#transport = transport;
    this.#commandId = commandId;
    this.#offset = offset;
  }

  write(data: string | Uint8Array, options: WriteStdinOptions): Promise<void> {
    return this.#inTurn(() => this.#send(Buffer.from(data), false, options), options.signal);
  }

  close(options: WriteStdinOptions): Promise<void> {
    return this.#inTurn(() => this.#send(Buffer.alloc(0), true, options), options.signal);
  }

  /** What was taken so far, by the service's word. */
  offset(options: WriteStdinOptions): Promise<number> {
    return this.#inTurn(() => this.#ask(options), options.signal);
  }

  /** An abort is heard at once, also by one whose turn has not come. */
  #inTurn<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const turn = this.#last.then(() => {
      if (signal?.aborted) throw abortError(signal);
      return task();
    });
    this.#last = turn.catch(() => undefined);
    if (!signal) return turn;
    return new Promise((resolve, reject) => {
      const onAbort = () => reject(abortError(signal));
      if (signal.aborted) onAbort();
      signal.addEventListener("abort", onAbort, { once: true });
      void turn.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
    });
  }

  async #ask({ signal }: WriteStdinOptions): Promise<number> {
    const nothing = { offset: 0, data: Buffer.alloc(0), close: false };
    const { offset } = await this.#request(nothing, signal);
    this.#offset = offset;
    return offset;
  }

  async #send(data: Buffer, close: boolean, options: WriteStdinOptions): Promise<void> {
    const begin = options.offset ?? this.#offset ?? (await this.#ask(options));
    const end = begin + data.length;
    // Of a write that fails nobody knows how much was taken: the next one has to ask.
    this.#offset = null;
    let at = begin;
    for (let closed = false; at < end || (close && !closed); ) {
      const part = data.subarray(at - begin, at - begin + WRITE_BYTES);
      const answer = await this.#request({ offset: at, data: part, close }, options.signal);
      const moved = answer.offset > at || answer.closed;
      // More than this was taken if `offset` lies before the end of what was written earlier.
      at = Math.min(answer.offset, end);
      closed = answer.closed;
      if (!moved && at < end) await this.#transport.pause(STALLED_MS, options.signal);
    }
    this.#offset = at;
  }

  /** Repeating by offset does no harm, so any break is a reason to try again. */
  async #request(
    part: { offset: number; data: Buffer; close: boolean },
    signal?: AbortSignal,
  ): Promise<WriteStdinResponse> {
    const request = { commandId: this.#commandId, ...part };
    const timeoutMs = this.#transport.timeoutMs + HELD_MS;
    const retries = this.#transport.retries();
    for (;;) {
      try {
        return await this.#transport.unaryOnce(CommandServiceService.writeStdin, request, {
          signal,
          timeoutMs,
        });
      } catch (error) {
        const wait = isRepeatable(error) && !signal?.aborted ? retries.next(error) : null;
        if (wait === null) throw error;
        await this.#transport.pause(wait, signal);
      }
    }
  }
}

function isRepeatable(error: unknown): error is CrowNestError {
  if (isResumable(error)) return true;
  return error instanceof CrowNestError && error.code === "DEADLINE_EXCEEDED";
}
