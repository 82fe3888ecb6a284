// Commands of a sandbox: run, start, follow, cancel.
import { CollectWhen, CommandServiceService, type CommandSpec } from "./gen/crownest/v1/command.js";
import { collectItems, type CollectItem } from "./artifacts.js";
import { abortError, CrowNestError, InvalidArgumentError } from "./errors.js";
import { follow, type Event, type FollowSource } from "./follow.js";
import { List, type ListOptions } from "./list.js";
import { durationFromSeconds } from "./time.js";
import { newRequestId, type RequestOptions, type Transport } from "./transport.js";
import {
  toCommand,
  toLogEvent,
  type Artifact,
  type CollectFailure,
  type Command,
  type CommandUsage,
  type ExitCause,
  type LogEvent,
  type LogGap,
} from "./types.js";

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
  /** Under which id the service does this once; made by the SDK by default. */
  requestId?: string;
}

/** How a command is followed. */
export interface OutputOptions {
  /**
   * Called with every chunk of stdout as it comes, in order; the exact bytes, so that a character may
   * be split over two chunks. What it returns is awaited before more is read. When it throws, the
   * command is cancelled and the error passed on.
   */
  onStdout?: (chunk: Buffer) => unknown;
  /** As `onStdout`, for stderr. */
  onStderr?: (chunk: Buffer) => unknown;
  /** Aborting it cancels the command and rejects with a CancelledError once it is gone. */
  signal?: AbortSignal;
  /**
   * How many bytes of each stream the result keeps in memory: the last ones, 8 MiB by default. The
   * whole log stays readable with `commands.logs`.
   */
  maxOutputBytes?: number;
}

export interface RunOptions extends StartOptions, OutputOptions {}

/** How a command ended. A non-zero exit code is data, not an error. */
export interface CommandResult {
  commandId: string;
  /** `EXITED` when it ended by itself, whatever its exit code. */
  exitCause: ExitCause;
  /** Its exit code; `null` unless it exited by itself. */
  exitCode: number | null;
  /** The number of the signal that ended it; `null` unless one did. */
  signal: number | null;
  /** Its stdout as UTF-8; see `maxOutputBytes`. */
  stdout: string;
  /** Its stderr as UTF-8; see `maxOutputBytes`. */
  stderr: string;
  /** The bytes of `stdout`, exact. */
  stdoutBytes: Buffer;
  /** The bytes of `stderr`, exact. */
  stderrBytes: Buffer;
  /** How many bytes of stdout came before those of `stdoutBytes` and are not in it; usually 0. */
  stdoutOmittedBytes: number;
  /** As `stdoutOmittedBytes`, for stderr. */
  stderrOmittedBytes: number;
  /** What the service did not keep of the log; empty for nearly every command. */
  gaps: LogGap[];
  usage: CommandUsage | null;
  /** The declared files that became artifacts. */
  artifacts: Artifact[];
  /** The declared paths that did not, and why. */
  collectFailures: CollectFailure[];
  command: Command;
}

export interface LogsOptions {
  /** Where to begin, in bytes of both streams; 0 by default. */
  offset?: number;
  /** True: until the command has exited. False by default: until the log's present end. */
  follow?: boolean;
  /** Ends the reading; the command goes on. */
  signal?: AbortSignal;
}

const DEFAULT_MAX_OUTPUT_BYTES = 8 * 1024 * 1024;
/** How long an aborted run waits to learn which command it has to cancel. */
const ABORT_GRACE_MS = 5000;

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
   * `COMMAND_NOT_FOUND`; InvalidArgumentError `OFFSET_BEYOND_END`.
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

/** Cancels the command of a run at most once, as soon as it is known which one that is. */
class Canceller {
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

type ExitedEvent = Extract<LogEvent, { type: "exited" }>;

/** Gathers a command's events into its result. */
class Collector {
  readonly #options: OutputOptions;
  readonly #stdout: Tail;
  readonly #stderr: Tail;
  readonly #gaps: LogGap[] = [];
  #exited: ExitedEvent | undefined;

  constructor(options: OutputOptions) {
    const limit = options.maxOutputBytes ?? DEFAULT_MAX_OUTPUT_BYTES;
    if (!(limit >= 0)) {
      throw new InvalidArgumentError("maxOutputBytes must be a number of bytes.", {
        code: "INVALID_ARGUMENT",
        field: "maxOutputBytes",
      });
    }
    this.#options = options;
    this.#stdout = new Tail(limit);
    this.#stderr = new Tail(limit);
  }

  async take(message: Event): Promise<void> {
    const event = toLogEvent(message);
    if (event?.type === "exited") this.#exited = event;
    else if (event?.type === "gap") this.#gap(event);
    else if (event?.type === "output") {
      const isStderr = event.stream === "stderr";
      (isStderr ? this.#stderr : this.#stdout).push(event.data);
      await (isStderr ? this.#options.onStderr : this.#options.onStdout)?.(event.data);
    }
  }

  #gap({ fromOffset, toOffset, reason }: LogGap): void {
    const last = this.#gaps.at(-1);
    if (last?.toOffset === fromOffset && last.reason === reason) last.toOffset = toOffset;
    else this.#gaps.push({ fromOffset, toOffset, reason });
  }

  result(): CommandResult {
    const { command, artifacts, collectFailures } = this.#exited as ExitedEvent;
    const stdoutBytes = this.#stdout.bytes();
    const stderrBytes = this.#stderr.bytes();
    return {
      commandId: command.commandId,
      exitCause: command.exitCause ?? "UNRECOGNIZED",
      exitCode: command.exitCode,
      signal: command.signal,
      stdout: stdoutBytes.toString("utf8"),
      stderr: stderrBytes.toString("utf8"),
      stdoutBytes,
      stderrBytes,
      stdoutOmittedBytes: this.#stdout.omitted,
      stderrOmittedBytes: this.#stderr.omitted,
      gaps: this.#gaps,
      usage: command.usage,
      artifacts,
      collectFailures,
      command,
    };
  }
}

/** The last `limit` bytes of a stream. */
class Tail {
  omitted = 0;
  #chunks: Buffer[] = [];
  #first = 0;
  #size = 0;

  constructor(private readonly limit: number) {}

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size > this.limit) this.#drop(this.#size - this.limit);
    // Chunks are dropped by index and swept now and then: shifting a long array is slow.
    if (this.#first > 1024 && this.#first * 2 > this.#chunks.length) {
      this.#chunks = this.#chunks.slice(this.#first);
      this.#first = 0;
    }
  }

  #drop(excess: number): void {
    const oldest = this.#chunks[this.#first] as Buffer;
    const dropped = Math.min(excess, oldest.length);
    if (dropped === oldest.length) {
      this.#chunks[this.#first] = Buffer.alloc(0);
      this.#first++;
    } else this.#chunks[this.#first] = oldest.subarray(dropped);
    this.#size -= dropped;
    this.omitted += dropped;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks.slice(this.#first), this.#size);
  }
}
