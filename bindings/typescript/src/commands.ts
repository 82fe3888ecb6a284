// Commands of a sandbox, and commands by their id.
import { CollectWhen, CommandServiceService, type CommandSpec } from "./gen/crownest/v1/command.js";
import { collectItems, type CollectItem } from "./artifacts.js";
import type { CommandResult, OutputOptions } from "./collector.js";
import {
  cancelCommand,
  CommandHandle,
  consume,
  readLogs,
  terminalSize,
  waitFor,
  type LogsOptions,
  type TerminalSize,
  type WaitOptions,
} from "./command.js";
import { Feeder, type StdinData } from "./feeder.js";
import { List, type ListOptions } from "./list.js";
import { durationFromSeconds } from "./time.js";
import { newRequestId, type RequestOptions, type Transport } from "./transport.js";
import { toCommand, type Command, type LogEvent } from "./types.js";

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
  /** True: its input stays open for `writeStdin`. False by default: it is empty. */
  stdin?: boolean;
  /** Under which id the service does this once; made by the SDK by default. */
  requestId?: string;
}

/** How a command is started and followed. */
export interface RunOptions extends Omit<StartOptions, "stdin">, OutputOptions {
  /** As for `start`; or its whole input, which is written while its output is read. */
  stdin?: boolean | StdinData;
  /**
   * Called once the command runs, with what else can be done to it. When it throws, the command is
   * cancelled and the error passed on.
   */
  onStarted?: (command: CommandHandle) => unknown;
}

/** Commands of whatever sandbox, by their id. */
export class CommandsById {
  readonly #transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Returns a command, running or ended. Errors: NotFoundError `COMMAND_NOT_FOUND`. */
  async get(commandId: string, options: RequestOptions = {}): Promise<CommandHandle> {
    const { command } = await this.#transport.unary(
      CommandServiceService.get,
      { commandId },
      options,
    );
    return new CommandHandle(this.#transport, toCommand(command));
  }

  /**
   * Waits for the end of a command that was started, as `run` does; output from `offset` on (bytes of
   * both streams, 0 by default) goes into the callbacks and the result. Errors: NotFoundError
   * `COMMAND_NOT_FOUND`; InvalidArgumentError `OFFSET_BEYOND_END`; CancelledError.
   */
  wait(commandId: string, options: WaitOptions = {}): Promise<CommandResult> {
    return waitFor(this.#transport, commandId, options);
  }

  /**
   * Reads a command's log from an offset, live or long after its sandbox is gone, resuming when the
   * connection breaks. The last event is `exited` once the command has ended. Errors: NotFoundError
   * `COMMAND_NOT_FOUND`, `LOG_EXPIRED`; InvalidArgumentError `OFFSET_BEYOND_END`, `TAIL_INVALID`.
   */
  logs(commandId: string, options: LogsOptions = {}): AsyncGenerator<LogEvent, void, undefined> {
    return readLogs(this.#transport, commandId, options);
  }

  /**
   * Kills every process of a command and returns it once none is left; one that has ended already is
   * returned unchanged. Errors: NotFoundError `COMMAND_NOT_FOUND`.
   */
  cancel(commandId: string, options: RequestOptions = {}): Promise<Command> {
    return cancelCommand(this.#transport, commandId, options);
  }
}

/** The commands of one sandbox, also of one that has ended. */
export class Commands extends CommandsById {
  readonly #transport: Transport;
  readonly #sandboxId: string;

  /** @internal */
  constructor(transport: Transport, sandboxId: string) {
    super(transport);
    this.#transport = transport;
    this.#sandboxId = sandboxId;
  }

  /**
   * Runs a command and waits for its end. A string is a line for `/bin/sh -c`, an array program and
   * arguments. A broken connection is resumed without losing or repeating a byte; when the service
   * stays away, the error has `commandId` and `logOffset` to go on with `wait`.
   *
   * Errors: InvalidArgumentError with the field; NotFoundError `SANDBOX_NOT_FOUND`; PreconditionError
   * `SANDBOX_NOT_RUNNING`, `SANDBOX_PAUSED`, `CWD_NOT_A_DIRECTORY`, `EXEC_FAILED`; CancelledError.
   */
  async run(command: string | readonly string[], options: RunOptions = {}): Promise<CommandResult> {
    const { stdin, onStarted, ...rest } = options;
    const data = typeof stdin === "boolean" ? undefined : stdin;
    const request = {
      requestId: options.requestId ?? newRequestId(),
      command: this.#spec(command, { ...rest, stdin: stdin !== undefined && stdin !== false }),
    };
    const feeder = { stdin: data, onStarted, fresh: options.requestId === undefined };
    return consume(
      this.#transport,
      { run: request },
      options,
      (fail) => new Feeder(this.#transport, feeder, fail),
    );
  }

  /** Starts a command and returns at once; what it returns follows it. Errors as `run`. */
  async start(
    command: string | readonly string[],
    options: StartOptions & RequestOptions = {},
  ): Promise<CommandHandle> {
    const request = {
      requestId: options.requestId ?? newRequestId(),
      command: this.#spec(command, options),
    };
    const answer = await this.#transport.unary(CommandServiceService.start, request, options);
    // Under an id of the caller's own it may run already, and have got input.
    const offset = options.requestId === undefined ? 0 : null;
    return new CommandHandle(this.#transport, toCommand(answer.command), offset);
  }

  /** Lists the sandbox's commands, newest first. Errors: NotFoundError `SANDBOX_NOT_FOUND`. */
  list(options: ListOptions = {}): List<CommandHandle> {
    return new List(async (pageToken) => {
      const request = { sandboxId: this.#sandboxId, pageSize: options.pageSize ?? 0, pageToken };
      const page = await this.#transport.unary(CommandServiceService.list, request, options);
      return {
        items: page.commands.map((item) => new CommandHandle(this.#transport, toCommand(item))),
        nextPageToken: page.nextPageToken,
      };
    }, options.pageToken);
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
}
