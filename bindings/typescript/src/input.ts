// The input of a running command, written by offset.
import { CommandServiceService } from "./gen/crownest/v1/command.js";
import type { RequestOptions, Transport } from "./transport.js";

/** The contract's limit of one request. */
const WRITE_BYTES = 1024 * 1024;

/**
 * A command's input: knows how much was written, so that a write that is sent again after a broken
 * connection is applied once. One writer at a time; writes that overlap are sent in turn.
 */
export class CommandInput {
  readonly commandId: string;
  readonly #transport: Transport;
  #offset: number;
  #last: Promise<unknown> = Promise.resolve();

  /** @internal */
  constructor(transport: Transport, commandId: string, offset: number) {
    this.#transport = transport;
    this.commandId = commandId;
    this.#offset = offset;
  }

  /** Bytes of input that the command's pipe or terminal has taken. */
  get offset(): number {
    return this.#offset;
  }

  /**
   * Writes text as UTF-8, or bytes, and returns once all of it was taken; a command that does not
   * read holds it up. Errors: PreconditionError `INPUT_CLOSED`, `COMMAND_NOT_RUNNING`; NotFoundError
   * `COMMAND_NOT_FOUND`; CancelledError, after which `offset` says how far it came.
   */
  write(data: string | Uint8Array, options: RequestOptions = {}): Promise<void> {
    return this.#inTurn(() => this.#send(Buffer.from(data), false, options));
  }

  /** Ends the input; on a terminal that is an end-of-file character. Errors as `write`. */
  end(options: RequestOptions = {}): Promise<void> {
    return this.#inTurn(() => this.#send(Buffer.alloc(0), true, options));
  }

  #inTurn(task: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(task);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #send(data: Buffer, close: boolean, options: RequestOptions): Promise<void> {
    const begin = this.#offset;
    for (let closed = false; !closed && (close || this.#offset < begin + data.length); ) {
      const from = this.#offset - begin;
      const request = {
        commandId: this.commandId,
        offset: this.#offset,
        data: data.subarray(from, from + WRITE_BYTES),
        close,
      };
      const answer = await this.#transport.unary(
        CommandServiceService.writeStdin,
        request,
        options,
      );
      this.#offset = answer.offset;
      closed = answer.closed;
    }
  }
}
