// A command as an object to work with, from the process that started it or any other.
import { CommandServiceService } from "./gen/crownest/v1/command.js";
import { Canceller } from "./canceller.js";
import { Collector, type CommandResult, type OutputOptions } from "./collector.js";
import { abortError, CrowNestError } from "./errors.js";
import { follow, type FollowSource, type LogRange } from "./follow.js";
import { InputWriter, type WriteStdinOptions } from "./input.js";
import { signalNumber, type SignalName } from "./signals.js";
import { newRequestId, type RequestOptions, type Transport } from "./transport.js";
import { toCommand, toLogEvent, type Command, type LogEvent } from "./types.js";

/** The size of a terminal in characters, each 1 to 1000. */
export interface TerminalSize {
  /** 24 by default. */
  rows?: number;
  /** 80 by default. */
  columns?: number;
}

/** How a log is read. */
export interface LogsOptions extends LogRange {
  /** True: until the command has exited. False by default: until the log's present end. */
  follow?: boolean;
  /** Ends the reading; the command goes on. */
  signal?: AbortSignal;
}

/** How a command is waited for. */
export interface WaitOptions extends OutputOptions {
  /** From where its output goes into the callbacks and the result; 0, the beginning, by default. */
  offset?: number;
}

/** @internal */
export function terminalSize(size: TerminalSize): Required<TerminalSize> {
  return { rows: size.rows ?? 0, columns: size.columns ?? 0 };
}

/**
 * A command, running or ended. It does not depend on the process that started it:
 * `client.commands.get(commandId)` gives the same from anywhere, also after the service was
 * restarted, and long after the sandbox is gone for what only reads.
 *
 * Errors of all methods: NotFoundError `COMMAND_NOT_FOUND`. Of those that act on a running command
 * also PreconditionError `COMMAND_NOT_RUNNING`, and `SANDBOX_PAUSED` until the sandbox is resumed.
 */
export class CommandHandle {
  readonly commandId: string;
  readonly #transport: Transport;
  readonly #input: InputWriter;
  #info: Command;

  /** @internal `inputOffset`: how much input was taken; null when only the service knows. */
  constructor(transport: Transport, info: Command, inputOffset: number | null = null) {
    this.commandId = info.commandId;
    this.#transport = transport;
    this.#input = new InputWriter(transport, info.commandId, inputOffset);
    this.#info = info;
  }

  /** The command as the service described it last; `refresh` asks again. */
  get info(): Command {
    return this.#info;
  }

  /** Asks the service how the command is. */
  async refresh(options: RequestOptions = {}): Promise<Command> {
    const { commandId } = this;
    this.#info = toCommand(
      (await this.#transport.unary(CommandServiceService.get, { commandId }, options)).command,
    );
    return this.#info;
  }

  /**
   * Writes text as UTF-8, or bytes, to the input of a command that was started with `stdin`, and
   * returns once all of it was taken. A command that does not read holds it up for as long as that
   * takes; a broken connection repeats nothing and loses nothing. Writes are done in the order in
   * which they were asked for. Let one object write at a time: input is one row of bytes.
   *
   * Errors: PreconditionError `INPUT_CLOSED`; CancelledError.
   */
  writeStdin(data: string | Uint8Array, options: WriteStdinOptions = {}): Promise<void> {
    return this.#input.write(data, options);
  }

  /**
   * Ends the input once what was written before is taken; on a terminal that is an end-of-file
   * character. Errors as `writeStdin`.
   */
  closeStdin(options: WriteStdinOptions = {}): Promise<void> {
    return this.#input.close(options);
  }

  /** How many bytes of input were taken so far, whoever wrote them. */
  stdinOffset(options: Pick<WriteStdinOptions, "signal"> = {}): Promise<number> {
    return this.#input.offset(options);
  }

  /**
   * Sets the size of the command's terminal; its foreground processes get SIGWINCH. Errors:
   * PreconditionError `NOT_A_TERMINAL`; InvalidArgumentError.
   */
  async resize(size: TerminalSize, options: RequestOptions = {}): Promise<void> {
    const request = { commandId: this.commandId, terminal: terminalSize(size) };
    const { command } = await this.#transport.unary(CommandServiceService.resize, request, options);
    this.#info = toCommand(command);
  }

  /**
   * Sends a signal, by name or by its number on Linux, to every process of the command. Errors:
   * InvalidArgumentError `SIGNAL_INVALID`.
   */
  async signal(
    signal: SignalName | number,
    options: RequestOptions & { requestId?: string } = {},
  ): Promise<void> {
    const request = {
      requestId: options.requestId ?? newRequestId(),
      commandId: this.commandId,
      signal: signalNumber(signal),
    };
    const { command } = await this.#transport.unary(CommandServiceService.signal, request, options);
    this.#info = toCommand(command);
  }

  /**
   * Waits for the command's end and returns how it ended, as `run` does. It reads the log, which
   * costs the service nothing while the command is silent. Errors: InvalidArgumentError
   * `OFFSET_BEYOND_END`; CancelledError, with the command cancelled.
   */
  async wait(options: WaitOptions = {}): Promise<CommandResult> {
    const result = await waitFor(this.#transport, this.commandId, options);
    this.#info = result.command;
    return result;
  }

  /**
   * Reads the log, live or long after the sandbox is gone, resuming when the connection breaks. The
   * last event is `exited` once the command has ended. Errors: NotFoundError `LOG_EXPIRED`;
   * InvalidArgumentError `OFFSET_BEYOND_END`, `TAIL_INVALID`.
   */
  logs(options: LogsOptions = {}): AsyncGenerator<LogEvent, void, undefined> {
    return readLogs(this.#transport, this.commandId, options);
  }

  /**
   * Kills every process of the command and returns once none is left; one that has ended already
   * stays as it is.
   */
  async cancel(options: RequestOptions = {}): Promise<Command> {
    this.#info = await cancelCommand(this.#transport, this.commandId, options);
    return this.#info;
  }
}

/** @internal */
export async function cancelCommand(
  transport: Transport,
  commandId: string,
  options: RequestOptions = {},
): Promise<Command> {
  return toCommand(
    (await transport.unary(CommandServiceService.cancel, { commandId }, options)).command,
  );
}

/** @internal */
export async function* readLogs(
  transport: Transport,
  commandId: string,
  options: LogsOptions,
): AsyncGenerator<LogEvent, void, undefined> {
  const { follow: untilExit = false, signal, ...range } = options;
  for await (const event of follow(
    transport,
    { ...range, commandId },
    { follow: untilExit, signal },
  )) {
    const visible = toLogEvent(event);
    if (visible) yield visible;
  }
}

/** @internal */
export function waitFor(
  transport: Transport,
  commandId: string,
  options: WaitOptions,
): Promise<CommandResult> {
  return consume(transport, { commandId, offset: options.offset ?? 0 }, options);
}

/** @internal Learns of the command, and may end it by failing; `done` when that cannot be any more. */
export interface Companion {
  started(command: Command): void;
  readonly failure: { error: unknown } | undefined;
  done(): void;
}

/** @internal Follows a command to its end; an abort, and a callback that throws, cancel it. */
export async function consume(
  transport: Transport,
  source: FollowSource,
  options: OutputOptions,
  attend?: (fail: () => void) => Companion,
): Promise<CommandResult> {
  const { signal } = options;
  if (signal?.aborted) throw abortError(signal);
  const collector = new Collector(options);
  const canceller = new Canceller(
    (id) => cancelCommand(transport, id),
    "run" in source ? undefined : source.commandId,
  );
  const companion = attend?.(() => void canceller.request());
  const onAbort = () => canceller.request();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    for await (const event of follow(transport, source, {
      follow: true,
      signal: canceller.closed,
    })) {
      if (event.$case === "started") {
        canceller.started(event.value.command?.commandId);
        companion?.started(toCommand(event.value.command));
      } else await collector.take(event);
    }
  } catch (error) {
    if (signal?.aborted) throw await canceller.finish(signal);
    if (companion?.failure) throw companion.failure.error;
    // The caller's own callback failed: what it was listening to must not go on unheard.
    if (!(error instanceof CrowNestError)) await canceller.request();
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    companion?.done();
    canceller.done();
  }
  if (signal?.aborted) throw await canceller.finish(signal);
  if (companion?.failure) throw companion.failure.error;
  return collector.result();
}
