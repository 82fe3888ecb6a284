// The input of a command that `run` starts, written while its output is read.
import type { Companion } from "./command.js";
import { CommandHandle } from "./command.js";
import { PreconditionError } from "./errors.js";
import { sleep } from "./time.js";
import type { Transport } from "./transport.js";
import type { Command } from "./types.js";

/** A command's whole input: text as UTF-8, bytes, or either as they come. */
export type StdinData = string | Uint8Array | AsyncIterable<string | Uint8Array>;

/** How long to wait before a paused sandbox is tried again. */
const PAUSED_MS = 500;

export interface FeederOptions {
  stdin: StdinData | undefined;
  onStarted: ((command: CommandHandle) => unknown) | undefined;
  /** False when an earlier run may have written already. */
  fresh: boolean;
}

/** Tells the caller of the command, and writes its input if there is one. */
export class Feeder implements Companion {
  failure: { error: unknown } | undefined;
  readonly #transport: Transport;
  readonly #options: FeederOptions;
  readonly #fail: () => void;
  readonly #over = new AbortController();

  constructor(transport: Transport, options: FeederOptions, fail: () => void) {
    this.#transport = transport;
    this.#options = options;
    this.#fail = fail;
  }

  started(command: Command): void {
    void this.#work(new CommandHandle(this.#transport, command, this.#options.fresh ? 0 : null));
  }

  /** The command has ended: what it did not read is not its input. */
  done(): void {
    this.#over.abort();
  }

  async #work(command: CommandHandle): Promise<void> {
    try {
      await this.#options.onStarted?.(command);
      if (this.#options.stdin !== undefined) await this.#feed(command, this.#options.stdin);
    } catch (error) {
      if (this.#over.signal.aborted || isUnwanted(error)) return;
      this.failure = { error };
      this.#fail();
    }
  }

  /** By offset from the beginning, so that a run that is repeated gives its input once. */
  async #feed(command: CommandHandle, data: StdinData): Promise<void> {
    const { signal } = this.#over;
    let offset = 0;
    for await (const part of parts(data)) {
      if (signal.aborted) return;
      const bytes = Buffer.from(part);
      await whilePaused(signal, () => command.writeStdin(bytes, { offset, signal }));
      offset += bytes.length;
    }
    await whilePaused(signal, () => command.closeStdin({ offset, signal }));
  }
}

function parts(
  data: StdinData,
): Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array> {
  return typeof data === "string" || data instanceof Uint8Array ? [data] : data;
}

/** A command may end, or close its input, before it has read all. */
function isUnwanted(error: unknown): boolean {
  return (
    error instanceof PreconditionError &&
    (error.reason === "COMMAND_NOT_RUNNING" || error.reason === "INPUT_CLOSED")
  );
}

async function whilePaused(signal: AbortSignal, task: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await task();
    } catch (error) {
      if (!(error instanceof PreconditionError) || error.reason !== "SANDBOX_PAUSED") throw error;
      await sleep(PAUSED_MS, signal);
    }
  }
}
