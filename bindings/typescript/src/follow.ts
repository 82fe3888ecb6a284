// Reads a command's stream over as many connections as it takes: nothing lost, nothing twice.
import {
  CommandServiceService,
  LogStream,
  type CommandEvent,
  type RunCommandRequest,
} from "./gen/crownest/v1/command.js";
import { CrowNestError, isResumable, isRetryable, makeError } from "./errors.js";
import { backoffMs } from "./time.js";
import type { Transport } from "./transport.js";
import { required } from "./types.js";

export type Event = NonNullable<CommandEvent["event"]>;

/** Where to begin: by running a command, or at an offset of one that was started. */
export type FollowSource = { run: RunCommandRequest } | { commandId: string; offset: number };

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
 * comes next, for as long as the service is not away for longer than the client's timeoutMs.
 */
export async function* follow(
  transport: Transport,
  source: FollowSource,
  options: FollowOptions,
): AsyncGenerator<Event, void, undefined> {
  const cursor = new Cursor(source);
  const patience = new Patience(transport);
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
  const { commandId, offset } = cursor;
  const responses =
    commandId === undefined
      ? transport.stream(CommandServiceService.run, (source as { run: RunCommandRequest }).run, {
          signal,
          bounded: "first",
        })
      : transport.stream(
          CommandServiceService.streamLogs,
          {
            commandId,
            offset,
            follow,
            stream: LogStream.UNSPECIFIED,
            tailBytes: 0,
            tailLines: 0,
          },
          { signal, bounded: "none" },
        );
  for await (const { event } of responses) {
    // An event of a kind that this version does not know is left out.
    if (event?.event) yield event.event;
  }
}

/** Tells the caller where to go on by hand. */
function locate(error: CrowNestError, cursor: Cursor): CrowNestError {
  if (cursor.commandId !== undefined) {
    error.commandId = cursor.commandId;
    error.logOffset = cursor.offset;
  }
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

/** What was delivered so far, and what of an event is new. */
class Cursor {
  commandId: string | undefined;
  offset = 0;

  constructor(source: FollowSource) {
    if ("run" in source) return;
    this.commandId = source.commandId;
    this.offset = source.offset;
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

  #advanced = 0;

  #advance(from: number, to: number): boolean {
    if (from > this.offset) throw new HoleError(this.offset, from);
    this.#advanced = to - this.offset;
    if (this.#advanced <= 0) return false;
    this.offset = to;
    return true;
  }
}

/** How long to go on trying. */
class Patience {
  #failures = 0;
  #brokenSince: number | null = null;
  #attemptedAt = 0;

  constructor(private readonly transport: Transport) {}

  attempt(): void {
    this.#attemptedAt = Date.now();
  }

  progress(): void {
    this.#failures = 0;
    this.#brokenSince = null;
  }

  /** Milliseconds to wait before the next attempt, or null to give up. */
  wait(error: CrowNestError, started: boolean): number | null {
    const now = Date.now();
    if (now - this.#attemptedAt > HEALTHY_MS) this.progress();
    this.#brokenSince ??= now;
    this.#failures++;
    const { maxRetries, timeoutMs } = this.transport;
    const wait = backoffMs(this.#failures, error.retryAfterMs);
    if (!started) return isRetryable(error) && this.#failures <= maxRetries ? wait : null;
    if (maxRetries === 0 || !isResumable(error)) return null;
    return now + wait - this.#brokenSince <= timeoutMs ? wait : null;
  }
}
