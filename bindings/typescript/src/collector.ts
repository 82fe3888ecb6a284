// The output and the end of a command, gathered into its result.
import { InvalidArgumentError } from "./errors.js";
import type { Event } from "./follow.js";
import {
  toLogEvent,
  type Artifact,
  type CollectFailure,
  type Command,
  type CommandUsage,
  type ExitCause,
  type LogEvent,
  type LogGap,
} from "./types.js";

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

const DEFAULT_MAX_OUTPUT_BYTES = 8 * 1024 * 1024;

type ExitedEvent = Extract<LogEvent, { type: "exited" }>;

/** Gathers a command's events into its result. */
export class Collector {
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
