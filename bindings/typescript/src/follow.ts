// Reads a command's stream over as many connections as it takes: nothing lost, nothing twice.
import {
  CommandServiceService,
  LogStream,
  type CommandEvent,
  type RunCommandRequest,
} from "./gen/crownest/v1/command.js";
import { CrowNestError, isResumable, isRetryable, makeError } from "./errors.js";
import type { Retries } from "./retries.js";
import type { Transport } from "./transport.js";
import { required } from "./types.js";

export type Event = NonNullable<CommandEvent["event"]>;

/** Which part of a log to read. */
export interface LogRange {
  /** Where to begin, in bytes of both streams; 0 by default. */
  offset?: number;
  /** Only one of the two streams; both by default. Offsets stay those of the whole log. */
  stream?: "stdout" | "stderr";
  /** Instead of `offset`: at most the last so many bytes of what is there now. */
  tailBytes?: number;
  /** Instead of `offset`: at most the last so many lines of what is there now; at most 10000. */
  tailLines?: number;
}

/** Where to begin: by running a command, or in the log of one that was started. */
export type FollowSource = { run: RunCommandRequest } | ({ commandId: string } & LogRange);

export interface FollowOptions {
  /** False: end at the log's present end instead of at `exited`. */
  follow: boolean;
  signal?: AbortSignal;
}

/** A resumed stream that lived this long counts as good again, even if the command was silent. */
const HEALTHY_MS = 5000;

/**
 * Yields a command's events in order. Until `started` came, a broken Run is sent again with the same
 * request id, which attaches to the same command. From then on StreamLogs goes on at the byte that
 * comes next, for as long as the service is not away for longer than the retry window.
 */
export async function* follow(
  transport: Transport,
  source: FollowSource,
  options: FollowOptions,
): AsyncGenerator<Event, void, undefined> {
  const cursor = new Cursor(source);
  const patience = new Patience(transport.retries());
  for (;;) {
    const resumed = cursor.commandId !== undefined;
    patience.attempt();
    try {
      for await (const event of open(transport, source, cursor, options)) {
        const fresh = cursor.accept(event);
        if (fresh === null) continue;
        patience.progress();
        yield fresh;
        if (fresh.$case === "exited") return;
      }
      if (resumed && !options.follow) return;
      throw makeError("The stream ended before the command did.", { code: "UNAVAILABLE" });
    } catch (error) {
      if (error instanceof HoleError && resumed) throw locate(error.asCrowNestError(), cursor);
      const broken = error instanceof HoleError ? error.asCrowNestError() : error;
      if (!(broken instanceof CrowNestError)) throw broken;
      const wait =
        error instanceof HoleError ? 0 : patience.wait(broken, cursor.commandId !== undefined);
      if (wait === null || options.signal?.aborted) throw locate(broken, cursor);
      await transport.pause(wait, options.signal);
    }
  }
}

async function* open(
  transport: Transport,
  source: FollowSource,
  cursor: Cursor,
  { follow, signal }: FollowOptions,
): AsyncGenerator<Event, void, undefined> {
  const { commandId } = cursor;
  const responses =
    commandId === undefined
      ? transport.stream(CommandServiceService.run, (source as { run: RunCommandRequest }).run, {
          signal,
          bounded: "first",
        })
      : transport.stream(
          CommandServiceService.streamLogs,
          { commandId, follow, ...cursor.range() },
          { signal, bounded: "none" },
        );
  for await (const { event } of responses) {
    // An event of a kind that this version does not know is left out.
    if (event?.event) yield event.event;
  }
}

/** Tells the caller where to go on by hand. */
function locate(error: CrowNestError, cursor: Cursor): CrowNestError {
  if (cursor.commandId !== undefined) error.commandId = cursor.commandId;
  if (cursor.commandId !== undefined && cursor.offset !== null) error.logOffset = cursor.offset;
  return error;
}

/** The stream went on behind the byte that comes next. */
class HoleError extends Error {
  constructor(
    readonly expected: number,
    readonly got: number,
  ) {
    super(`The log went on at byte ${got} where ${expected} was due.`);
  }

  asCrowNestError(): CrowNestError {
    return makeError(this.message, { code: "DATA_LOSS", reason: "LOG_HOLE", retryable: false });
  }
}

const STREAMS = { stdout: LogStream.STDOUT, stderr: LogStream.STDERR } as const;

/** What was delivered so far, and what of an event is new. */
class Cursor {
  commandId: string | undefined;
  /** The byte that comes next; null while only the service knows where the tail begins. */
  offset: number | null = 0;
  readonly #asked: LogRange = {};
  #advanced = 0;

  constructor(source: FollowSource) {
    if ("run" in source) return;
    this.commandId = source.commandId;
    this.#asked = source;
    this.offset = source.tailBytes || source.tailLines ? null : (source.offset ?? 0);
  }

  /** What to ask for, at first and after a break. */
  range() {
    const { stream, tailBytes = 0, tailLines = 0 } = this.#asked;
    const begin =
      this.offset === null
        ? { offset: 0, tailBytes, tailLines }
        : { offset: this.offset, tailBytes: 0, tailLines: 0 };
    return { ...begin, stream: stream ? STREAMS[stream] : LogStream.UNSPECIFIED };
  }

  /** The part of an event that was not delivered yet, or null. */
  accept(event: Event): Event | null {
    switch (event.$case) {
      case "started":
        if (this.commandId !== undefined) return null;
        this.commandId = required(event.value.command, "the command").commandId;
        return event;
      case "output": {
        const { offset, data } = event.value;
        const end = offset + data.length;
        if (!this.#advance(offset, end)) return null;
        const from = end - this.#advanced;
        return from === offset
          ? event
          : {
              ...event,
              value: { ...event.value, offset: from, data: data.subarray(from - offset) },
            };
      }
      case "gap": {
        const { fromOffset, toOffset } = event.value;
        if (!this.#advance(fromOffset, toOffset)) return null;
        return { ...event, value: { ...event.value, fromOffset: toOffset - this.#advanced } };
      }
      default:
        return event;
    }
  }

  #advance(from: number, to: number): boolean {
    const due = this.offset ?? from;
    // Of one stream alone, what the other one wrote is left out.
    const start = this.#asked.stream ? Math.max(due, from) : due;
    if (from > start) throw new HoleError(start, from);
    this.#advanced = to - start;
    if (this.#advanced <= 0) return false;
    this.offset = to;
    return true;
  }
}

/** How long to go on trying. */
export class Patience {
  #attemptedAt = 0;

  constructor(private readonly retries: Retries) {}

  attempt(): void {
    this.#attemptedAt = performance.now();
  }

  progress(): void {
    this.retries.reset();
  }

  /** Milliseconds to wait before the next attempt, or null to give up. */
  wait(error: CrowNestError, started: boolean): number | null {
    if (performance.now() - this.#attemptedAt > HEALTHY_MS) this.progress();
    if (!(started ? isResumable(error) : isRetryable(error))) return null;
    return this.retries.next(error);
  }
}
