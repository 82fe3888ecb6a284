// One gRPC channel: where it goes, who we are, deadlines, retries and aborts. Knows no noun.
import {
  Client,
  credentials,
  Metadata,
  type ChannelOptions,
  type ClientReadableStream,
  type MethodDefinition,
} from "@grpc/grpc-js";
import { randomUUID } from "node:crypto";
import {
  abortError,
  fromServiceError,
  InvalidArgumentError,
  isRetryable,
  isServiceError,
  makeError,
} from "./errors.js";
import { Retries } from "./retries.js";
import { sleep } from "./time.js";
import { upload } from "./upload.js";
import { VERSION } from "./version.js";
import { Watchdog } from "./watchdog.js";

/** What every call takes. */
export interface RequestOptions {
  /** Gives the call up: it rejects with a CancelledError whose `cause` is the signal's reason. */
  signal?: AbortSignal;
  /**
   * How long one try may take, in milliseconds; the client's own by default. For calls that carry a
   * file it bounds each wait for the service instead of the whole transfer.
   */
  timeoutMs?: number;
  /** How often to try again at most; the client's own by default. */
  maxRetries?: number;
  /** How long to go on trying, in milliseconds; the client's own by default. */
  retryWindowMs?: number;
}

export interface TransportConfig {
  url: string;
  apiKey?: string;
  project?: string;
  timeoutMs: number;
  maxRetries: number;
  /** Unset: long for a service that has answered before, short for one that never did. */
  retryWindowMs?: number;
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
  "grpc.max_reconnect_backoff_ms": 2000,
  // gRPC C core takes pings on a silent connection every 5 minutes; more often is answered with
  // GOAWAY. This finds the peers that vanished without a word while a command is silent.
  "grpc.keepalive_time_ms": 330_000,
  "grpc.keepalive_timeout_ms": 20_000,
};

/** A service that was there comes back: this is longer than a restart takes. */
const RETRY_WINDOW_MS = 60_000;
/** One that never answered is more likely not there at all, and a wrong url should show soon. */
const FIRST_CONTACT_MS = 5000;

/** A random id under which the service does a request once however often it is sent. */
export function newRequestId(): string {
  return randomUUID();
}

export class Transport {
  readonly timeoutMs: number;
  readonly #config: TransportConfig;
  readonly #client: Client;
  readonly #metadata = new Metadata();
  /** Of the calls that are under way: grpc-js lets them go on when it is closed. */
  readonly #cancels = new Set<() => void>();
  #closed = false;
  #reached = false;

  constructor(config: TransportConfig) {
    this.timeoutMs = config.timeoutMs;
    this.#config = config;
    const { address, tls } = parseUrl(config.url);
    this.#client = new Client(
      address,
      tls ? credentials.createSsl() : credentials.createInsecure(),
      CHANNEL_OPTIONS,
    );
    if (config.apiKey !== undefined) this.#metadata.set("authorization", `Bearer ${config.apiKey}`);
    if (config.project !== undefined) this.#metadata.set("x-crownest-project", config.project);
  }

  close(): void {
    this.#closed = true;
    for (const cancel of this.#cancels) cancel();
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

  /** Calls a unary method, again while that may help and is within the limits. */
  unary<Q, R>(method: Method<Q, R>, request: Q, options: RequestOptions = {}): Promise<R> {
    return this.retrying(options, () => this.unaryOnce(method, request, options));
  }

  /** Runs `attempt` until it succeeds, fails for good, or the retries are used up. */
  async retrying<T>(options: RequestOptions, attempt: (tries: number) => Promise<T>): Promise<T> {
    const retries = this.retries(options);
    for (let tries = 1; ; tries++) {
      if (options.signal?.aborted) throw abortError(options.signal);
      try {
        return await attempt(tries);
      } catch (error) {
        const wait = isRetryable(error) ? retries.next(error) : null;
        if (wait === null) throw error;
        await this.pause(wait, options.signal);
      }
    }
  }

  /** The limits of one call or stream. */
  retries(options: Pick<RequestOptions, "maxRetries" | "retryWindowMs"> = {}): Retries {
    const { maxRetries, retryWindowMs } = this.#config;
    return new Retries({
      maxRetries: options.maxRetries ?? maxRetries,
      windowMs: () =>
        options.retryWindowMs ??
        retryWindowMs ??
        (this.#reached ? RETRY_WINDOW_MS : FIRST_CONTACT_MS),
    });
  }

  /** Waits between attempts; an abort ends it with a CancelledError. */
  async pause(ms: number, signal?: AbortSignal): Promise<void> {
    await sleep(ms, signal).catch(() => {
      throw abortError(signal as AbortSignal);
    });
  }

  /** Calls a unary method once. */
  unaryOnce<Q, R>(
    method: Method<Q, R>,
    request: Q,
    { signal, timeoutMs = this.timeoutMs }: Pick<RequestOptions, "signal" | "timeoutMs">,
  ): Promise<R> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw abortError(signal);
      const onAbort = () => call.cancel();
      const call = this.#open().makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        this.#metadata,
        { deadline: Date.now() + timeoutMs },
        (error, response) => {
          signal?.removeEventListener("abort", onAbort);
          this.#cancels.delete(onAbort);
          this.#reached ||= error === null;
          if (error === null) resolve(response as R);
          else reject(signal?.aborted ? abortError(signal) : fromServiceError(error));
        },
      );
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#cancels.add(onAbort);
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
    this.#cancels.add(onAbort);
    try {
      const messages = call[Symbol.asyncIterator]();
      for (let count = 0; ; count++) {
        if (options.bounded === "all" || (options.bounded === "first" && count === 0))
          watchdog.arm();
        const { done, value } = await messages.next();
        watchdog.disarm();
        if (done) return;
        this.#reached = true;
        yield value as R;
      }
    } catch (error) {
      if (signal?.aborted) throw abortError(signal);
      if (watchdog.fired) throw watchdog.error();
      throw isServiceError(error) ? fromServiceError(error) : error;
    } finally {
      watchdog.disarm();
      signal?.removeEventListener("abort", onAbort);
      this.#cancels.delete(onAbort);
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
