// One gRPC channel: where it goes, who we are, deadlines, retries and aborts. Knows no noun.
import {
  Client,
  credentials,
  Metadata,
  type ChannelOptions,
  type ClientReadableStream,
  type MethodDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { randomUUID } from "node:crypto";
import {
  abortError,
  fromServiceError,
  InvalidArgumentError,
  isRetryable,
  makeError,
} from "./errors.js";
import { backoffMs, sleep } from "./time.js";
import { upload } from "./upload.js";
import { VERSION } from "./version.js";
import { Watchdog } from "./watchdog.js";

/** What every call takes. */
export interface RequestOptions {
  /** Gives the call up: it rejects with a CancelledError whose `cause` is the signal's reason. */
  signal?: AbortSignal;
  /**
   * The request's deadline in milliseconds, retries included; the client's own by default. For
   * calls that carry a file it bounds each wait for the service instead of the whole transfer.
   */
  timeoutMs?: number;
  /** How often to try again; the client's own by default. */
  maxRetries?: number;
}

export interface TransportConfig {
  url: string;
  apiKey?: string;
  timeoutMs: number;
  maxRetries: number;
}

type Method<Q, R> = MethodDefinition<Q, R>;

interface StreamOptions {
  signal?: AbortSignal;
  timeoutMs?: number;
  /** Which messages must come within the time limit: a command may be silent for hours. */
  bounded: "none" | "first" | "all";
}

const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.primary_user_agent": `crownest-sdk-typescript/${VERSION}`,
  // The largest answer is a directory of 10,000 names.
  "grpc.max_receive_message_length": 16 * 1024 * 1024,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 5000,
  // gRPC C core takes pings on a silent connection every 5 minutes; more often is answered with
  // GOAWAY. This finds the peers that vanished without a word while a command is silent.
  "grpc.keepalive_time_ms": 330_000,
  "grpc.keepalive_timeout_ms": 20_000,
};

/** A random id under which the service does a request once however often it is sent. */
export function newRequestId(): string {
  return randomUUID();
}

export class Transport {
  readonly timeoutMs: number;
  readonly maxRetries: number;
  readonly #client: Client;
  readonly #metadata = new Metadata();
  #closed = false;

  constructor(config: TransportConfig) {
    this.timeoutMs = config.timeoutMs;
    this.maxRetries = config.maxRetries;
    const { address, tls } = parseUrl(config.url);
    this.#client = new Client(
      address,
      tls ? credentials.createSsl() : credentials.createInsecure(),
      CHANNEL_OPTIONS,
    );
    if (config.apiKey !== undefined) this.#metadata.set("authorization", `Bearer ${config.apiKey}`);
  }

  close(): void {
    this.#closed = true;
    this.#client.close();
  }

  /** The channel; grpc-js would throw an error of its own from one that was closed. */
  #open(): Client {
    if (!this.#closed) return this.#client;
    throw makeError("The client was closed.", {
      code: "FAILED_PRECONDITION",
      reason: "CLIENT_CLOSED",
      admitted: "no",
    });
  }

  /** Calls a unary method, again while that may help and the deadline allows it. */
  unary<Q, R>(method: Method<Q, R>, request: Q, options: RequestOptions = {}): Promise<R> {
    return this.retrying(options, (deadline) =>
      this.#unaryOnce(method, request, deadline, options.signal),
    );
  }

  /** Runs `attempt` until it succeeds, fails for good, or retries and deadline are used up. */
  async retrying<T>(
    options: RequestOptions,
    attempt: (deadline: number, tries: number) => Promise<T>,
  ): Promise<T> {
    const deadline = Date.now() + (options.timeoutMs ?? this.timeoutMs);
    const maxRetries = options.maxRetries ?? this.maxRetries;
    for (let tries = 1; ; tries++) {
      if (options.signal?.aborted) throw abortError(options.signal);
      try {
        return await attempt(deadline, tries);
      } catch (error) {
        if (!isRetryable(error) || tries > maxRetries) throw error;
        const wait = backoffMs(tries, error.retryAfterMs);
        if (Date.now() + wait >= deadline) throw error;
        await this.pause(wait, options.signal);
      }
    }
  }

  /** Waits between attempts; an abort ends it with a CancelledError. */
  async pause(ms: number, signal?: AbortSignal): Promise<void> {
    await sleep(ms, signal).catch(() => {
      throw abortError(signal as AbortSignal);
    });
  }

  #unaryOnce<Q, R>(
    method: Method<Q, R>,
    request: Q,
    deadline: number,
    signal?: AbortSignal,
  ): Promise<R> {
    return new Promise((resolve, reject) => {
      const onAbort = () => call.cancel();
      const call = this.#open().makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        this.#metadata,
        { deadline },
        (error, response) => {
          signal?.removeEventListener("abort", onAbort);
          if (error === null) resolve(response as R);
          else reject(signal?.aborted ? abortError(signal) : fromServiceError(error));
        },
      );
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Opens a server stream once and yields its messages; leaving the loop closes it. */
  async *stream<Q, R>(
    method: Method<Q, R>,
    request: Q,
    options: StreamOptions,
  ): AsyncGenerator<R, void, undefined> {
    const { signal } = options;
    if (signal?.aborted) throw abortError(signal);
    const call: ClientReadableStream<R> = this.#open().makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      this.#metadata,
    );
    // Cancelling makes the call emit an error after the loop below has let go of it.
    call.on("error", () => undefined);
    const watchdog = new Watchdog(options.timeoutMs ?? this.timeoutMs, () => call.cancel());
    const onAbort = () => call.cancel();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const messages = call[Symbol.asyncIterator]();
      for (let count = 0; ; count++) {
        if (options.bounded === "all" || (options.bounded === "first" && count === 0))
          watchdog.arm();
        const { done, value } = await messages.next();
        watchdog.disarm();
        if (done) return;
        yield value as R;
      }
    } catch (error) {
      if (signal?.aborted) throw abortError(signal);
      if (watchdog.fired) throw watchdog.error();
      throw isServiceError(error) ? fromServiceError(error) : error;
    } finally {
      watchdog.disarm();
      signal?.removeEventListener("abort", onAbort);
      call.cancel();
    }
  }

  /**
   * Sends a client stream once; ends early when the service answers before all was sent. An upload
   * that is given up sends `poison`, which the service must refuse; upload.ts says why.
   */
  async upload<Q, R>(
    method: Method<Q, R>,
    messages: AsyncIterable<Q>,
    options: Pick<RequestOptions, "signal" | "timeoutMs"> & { poison: Q },
  ): Promise<R> {
    const { signal, poison, timeoutMs = this.timeoutMs } = options;
    return upload({
      client: this.#open(),
      metadata: this.#metadata,
      method,
      messages,
      poison,
      signal,
      timeoutMs,
    });
  }
}

function isServiceError(error: unknown): error is ServiceError {
  return (
    error instanceof Error &&
    typeof (error as Partial<ServiceError>).code === "number" &&
    "metadata" in error
  );
}

/** Where a url points: `http://host:port`, `https://host[:port]` or `unix:/path`. */
export function parseUrl(text: string): { address: string; tls: boolean } {
  if (text.startsWith("unix:/")) return { address: text, tls: false };
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // Reported below with the other shapes that are not taken.
  }
  const extra =
    url && (url.pathname !== "/" || url.search || url.hash || url.username || url.password);
  if (!url || extra || !url.hostname || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new InvalidArgumentError(
      `url must be http://host:port, https://host or unix:/path, not "${text}".`,
      {
        code: "INVALID_ARGUMENT",
        field: "url",
      },
    );
  }
  const tls = url.protocol === "https:";
  return { address: `${url.hostname}:${url.port || (tls ? "443" : "80")}`, tls };
}
