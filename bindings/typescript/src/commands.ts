// Commands of a sandbox: run, start, follow, give input, signal, cancel.
import { CollectWhen, CommandServiceService, type CommandSpec } from "./gen/crownest/v1/command.js";
import { collectItems, type CollectItem } from "./artifacts.js";
import { Canceller } from "./canceller.js";
import { Collector, type CommandResult, type OutputOptions } from "./collector.js";
import { abortError, CrowNestError, InvalidArgumentError } from "./errors.js";
import { follow, type FollowSource } from "./follow.js";
import { CommandInput } from "./input.js";
import { List, type ListOptions } from "./list.js";
import { durationFromSeconds } from "./time.js";
import { newRequestId, type RequestOptions, type Transport } from "./transport.js";
import { toCommand, toLogEvent, type Command, type LogEvent } from "./types.js";

/** How a command is started. */
export interface StartOptions {
  /**
   * Variables on top of the sandbox's own. Names are `[A-Za-z_][A-Za-z0-9_]*`; with the command at
   * most 1 MiB in all.
   */
  env?: Record<string, string>;
  /** An absolute directory inside the sandbox; `/workspace` by default. */
  cwd?: string;
  /** `user` (uid 1000) by default. */
  user?: "user" | "root";
  /** Seconds after which every process of it is killed, at most 86400; none by default. */
  timeout?: number;
  /** At most 64 paths or globs that become artifacts at its end; none by default. */
  collect?: (string | CollectItem)[];
  /** On exit code 0 by default (`"success"`), or however it ends (`"always"`). */
  collectWhen?: "success" | "always";
  /**
   * Gives it a controlling terminal, whose output all counts as stdout and whose TERM is
   * `xterm-256color` unless `env` says otherwise; none by default.
   */
  terminal?: TerminalSize;
  /** True: its input stays open for `input`. False by default: it is empty. */
  stdin?: boolean;
  /** Under which id the service does this once; made by the SDK by default. */
  requestId?: string;
}

/** The size of a terminal in characters; 0 takes the default. */
export interface TerminalSize {
  /** 24 by default. */
  rows?: number;
  /** 80 by default. */
  columns?: number;
}

/** How a command is started and followed. */
export interface RunOptions extends StartOptions, OutputOptions {}

/** How a log is read. */
export interface LogsOptions {
  /** Where to begin, in bytes of both streams; 0 by default. */
  offset?: number;
  /** True: until the command has exited. False by default: until the log's present end. */
  follow?: boolean;
  /** Ends the reading; the command goes on. */
  signal?: AbortSignal;
}

function terminalSize(size: TerminalSize): Required<TerminalSize> {
  return { rows: size.rows ?? 0, columns: size.columns ?? 0 };
}

/** Linux's numbers, which are not those of every system that the SDK runs on. */
const SIGNALS = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGWINCH: 28,
} as const;

/** A signal by name, or by its number on Linux, 1 to 64. */
export type SignalName = keyof typeof SIGNALS;

function signalNumber(signal: SignalName | number): number {
  const number: number | undefined = typeof signal === "number" ? signal : SIGNALS[signal];
  if (number !== undefined) return number;
  throw new InvalidArgumentError(`There is no signal "${signal}".`, {
    code: "INVALID_ARGUMENT",
    field: "signal",
  });
}

/** The commands of one sandbox, also of one that has ended. */
export class Commands {
  readonly #transport: Transport;
  readonly #sandboxId: string;

  /** @internal */
  constructor(transport: Transport, sandboxId: string) {
    this.#transport = transport;
    this.#sandboxId = sandboxId;
  }

  /**
   * Runs a command and waits for its end. A string is a line for `/bin/sh -c`, an array program and
   * arguments. A broken connection is resumed without losing or repeating a byte; when the service
   * stays away, the error has `commandId` and `logOffset` to go on with `wait`.
   *
   * Errors: InvalidArgumentError with the field; NotFoundError `SANDBOX_NOT_FOUND`; PreconditionError
   * `SANDBOX_NOT_RUNNING`, `CWD_NOT_A_DIRECTORY`, `EXEC_FAILED`; CancelledError.
   */
  async run(command: string | readonly string[], options: RunOptions = {}): Promise<CommandResult> {
    const request = {
      requestId: options.requestId ?? newRequestId(),
      command: this.#spec(command, options),
    };
    return this.#consume({ run: request }, options);
  }

  /** Starts a command and returns at once; `wait` and `logs` follow it. Errors as `run`. */
  async start(
    command: string | readonly string[],
    options: StartOptions & RequestOptions = {},
  ): Promise<Command> {
    const request = {
      requestId: options.requestId ?? newRequestId(),
      command: this.#spec(command, options),
    };
    return toCommand(
      (await this.#transport.unary(CommandServiceService.start, request, options)).command,
    );
  }

  /**
   * Waits for the end of a command that was started, as `run` does; output from `offset` on (bytes of
   * both streams, 0 by default) goes into the callbacks and the result. Errors: NotFoundError
   * `COMMAND_NOT_FOUND`; InvalidArgumentError `OFFSET_BEYOND_END`; CancelledError.
   */
  async wait(
    commandId: string,
    options: OutputOptions & { offset?: number } = {},
  ): Promise<CommandResult> {
    return this.#consume({ commandId, offset: options.offset ?? 0 }, options);
  }

  /** Returns a command, running or ended. Errors: NotFoundError `COMMAND_NOT_FOUND`. */
  async get(commandId: string, options: RequestOptions = {}): Promise<Command> {
    return toCommand(
      (await this.#transport.unary(CommandServiceService.get, { commandId }, options)).command,
    );
  }

  /** Lists the sandbox's commands, newest first. Errors: NotFoundError `SANDBOX_NOT_FOUND`. */
  list(options: ListOptions = {}): List<Command> {
    return new List(async (pageToken) => {
      const request = { sandboxId: this.#sandboxId, pageSize: options.pageSize ?? 0, pageToken };
      const page = await this.#transport.unary(CommandServiceService.list, request, options);
      return { items: page.commands.map(toCommand), nextPageToken: page.nextPageToken };
    }, options.pageToken);
  }

  /**
   * Reads a command's log from an offset, live or long after its sandbox is gone, resuming when the
   * connection breaks. The last event is `exited` once the command has ended. Errors: NotFoundError
   * `COMMAND_NOT_FOUND`, `LOG_EXPIRED`; InvalidArgumentError `OFFSET_BEYOND_END`.
   */
  async *logs(
    commandId: string,
    options: LogsOptions = {},
  ): AsyncGenerator<LogEvent, void, undefined> {
    const source = { commandId, offset: options.offset ?? 0 };
    for await (const event of follow(this.#transport, source, {
      follow: options.follow ?? false,
      signal: options.signal,
    })) {
      const visible = toLogEvent(event);
      if (visible) yield visible;
    }
  }

  /**
   * Kills every process of a command and returns it once none is left; one that has ended already is
   * returned unchanged. Errors: NotFoundError `COMMAND_NOT_FOUND`.
   */
  async cancel(commandId: string, options: RequestOptions = {}): Promise<Command> {
    return toCommand(
      (await this.#transport.unary(CommandServiceService.cancel, { commandId }, options)).command,
    );
  }

  /**
   * The input of a command that was started with `stdin`. `offset` is where to go on, in bytes; 0 by
   * default, and what was written before is not written again.
   */
  input(commandId: string, options: { offset?: number } = {}): CommandInput {
    return new CommandInput(this.#transport, commandId, options.offset ?? 0);
  }

  /**
   * Sets the size of a command's terminal; its foreground processes get SIGWINCH. Errors:
   * NotFoundError `COMMAND_NOT_FOUND`; PreconditionError `NOT_A_TERMINAL`, `COMMAND_NOT_RUNNING`.
   */
  async resize(
    commandId: string,
    size: TerminalSize,
    options: RequestOptions = {},
  ): Promise<Command> {
    const request = { commandId, terminal: terminalSize(size) };
    return toCommand(
      (await this.#transport.unary(CommandServiceService.resize, request, options)).command,
    );
  }

  /**
   * Sends a signal, such as `SIGINT`, to every process of a command. Errors: InvalidArgumentError
   * `SIGNAL_INVALID`; NotFoundError `COMMAND_NOT_FOUND`; PreconditionError `COMMAND_NOT_RUNNING`.
   */
  async signal(
    commandId: string,
    signal: SignalName | number,
    options: RequestOptions & { requestId?: string } = {},
  ): Promise<Command> {
    const request = {
      requestId: options.requestId ?? newRequestId(),
      commandId,
      signal: signalNumber(signal),
    };
    return toCommand(
      (await this.#transport.unary(CommandServiceService.signal, request, options)).command,
    );
  }

  #spec(command: string | readonly string[], options: StartOptions): CommandSpec {
    return {
      sandboxId: this.#sandboxId,
      argv: typeof command === "string" ? [] : [...command],
      shell: typeof command === "string" ? command : "",
      env: options.env ?? {},
      cwd: options.cwd ?? "",
      user: options.user ?? "",
      timeout: durationFromSeconds(options.timeout, "timeout"),
      collect: collectItems(options.collect ?? []),
      collectWhen: options.collectWhen === "always" ? CollectWhen.ALWAYS : CollectWhen.UNSPECIFIED,
      terminal: options.terminal && terminalSize(options.terminal),
      keepStdin: options.stdin ?? false,
    };
  }

  async #consume(source: FollowSource, options: OutputOptions): Promise<CommandResult> {
    const { signal } = options;
    if (signal?.aborted) throw abortError(signal);
    const collector = new Collector(options);
    const canceller = new Canceller(
      (id) => this.cancel(id),
      "run" in source ? undefined : source.commandId,
    );
    const onAbort = () => canceller.request();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      for await (const event of follow(this.#transport, source, {
        follow: true,
        signal: canceller.closed,
      })) {
        if (event.$case === "started") canceller.started(event.value.command?.commandId);
        else await collector.take(event);
      }
    } catch (error) {
      if (signal?.aborted) throw await canceller.finish(signal);
      // The caller's own callback failed: what it was listening to must not go on unheard.
      if (!(error instanceof CrowNestError)) await canceller.request();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      canceller.done();
    }
    if (signal?.aborted) throw await canceller.finish(signal);
    return collector.result();
  }
}
