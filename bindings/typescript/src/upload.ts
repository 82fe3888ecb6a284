// A client stream, sent once.
//
// Node's HTTP/2 ends a stream before it resets it, so cancelling an upload looks to the service like
// its regular end, with the reset a moment behind: it would keep half a file as a whole one. An upload
// that is given up therefore first sends a message that the contract forbids at that place.
import type {
  Client,
  ClientWritableStream,
  Metadata,
  MethodDefinition,
  ServiceError,
} from "@grpc/grpc-js";
import { abortError, fromServiceError } from "./errors.js";
import { Watchdog } from "./watchdog.js";

interface UploadParts<Q, R> {
  client: Client;
  metadata: Metadata;
  method: MethodDefinition<Q, R>;
  messages: AsyncIterable<Q>;
  /** Makes the service refuse what came before it. */
  poison: Q;
  /** Bounds each wait for the service. */
  timeoutMs: number;
  signal?: AbortSignal;
}

/** How long the service may take to refuse an upload that was given up, before it is cancelled. */
const ABANDON_MS = 1000;

/** Sends the messages and returns the answer. */
export async function upload<Q, R>(parts: UploadParts<Q, R>): Promise<R> {
  if (parts.signal?.aborted) throw abortError(parts.signal);
  return new Upload(parts).run();
}

class Upload<Q, R> {
  readonly #parts: UploadParts<Q, R>;
  readonly #watchdog: Watchdog;
  readonly #answer: Promise<R>;
  readonly #call: ClientWritableStream<Q>;
  /** Set when the answer came, the messages ended, or the upload was given up: nothing more is sent. */
  #over = false;
  #wake = () => {};
  #sourceFailure: { error: unknown } | undefined;

  constructor(parts: UploadParts<Q, R>) {
    this.#parts = parts;
    this.#watchdog = new Watchdog(parts.timeoutMs, () => this.#abandon());
    const { path, requestSerialize, responseDeserialize } = parts.method;
    let settle: (error: ServiceError | null, response?: R) => void = () => {};
    this.#answer = new Promise((resolve, reject) => {
      settle = (error, response) => (error === null ? resolve(response as R) : reject(error));
    });
    this.#call = parts.client.makeClientStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      parts.metadata,
      (error, response) => {
        this.#stop();
        settle(error, response);
      },
    );
    // The answer's promise says all; these are the writer's side of the same story.
    this.#call.on("error", () => undefined);
    this.#call.on("drain", () => this.#wake());
  }

  async run(): Promise<R> {
    const { signal } = this.#parts;
    const onAbort = () => this.#abandon();
    signal?.addEventListener("abort", onAbort, { once: true });
    // Reported below, or replaced by the reason for which the upload was given up.
    this.#answer.catch(() => undefined);
    try {
      // Side by side: the answer may come while the source has nothing to give.
      void this.#pump();
      return await this.#answer;
    } catch (error) {
      if (this.#sourceFailure) throw this.#sourceFailure.error;
      if (signal?.aborted) throw abortError(signal);
      if (this.#watchdog.fired) throw this.#watchdog.error();
      throw error instanceof Error && "metadata" in error
        ? fromServiceError(error as ServiceError)
        : error;
    } finally {
      this.#watchdog.disarm();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  async #pump(): Promise<void> {
    try {
      for await (const message of this.#parts.messages) {
        if (this.#over) return;
        if (!this.#call.write(message)) await this.#drained();
      }
    } catch (error) {
      this.#sourceFailure = { error };
      this.#abandon();
      return;
    }
    if (this.#over) return;
    this.#over = true;
    this.#watchdog.arm();
    this.#call.end();
  }

  async #drained(): Promise<void> {
    if (this.#over) return;
    this.#watchdog.arm();
    await new Promise<void>((resume) => (this.#wake = resume));
    this.#watchdog.disarm();
  }

  #stop(): void {
    this.#over = true;
    this.#watchdog.disarm();
    this.#wake();
  }

  #abandon(): void {
    const complete = this.#over;
    this.#stop();
    // Once everything was sent there is no half of it that could be mistaken for the whole.
    if (complete) return this.#call.cancel();
    this.#call.write(this.#parts.poison);
    const cancel = setTimeout(() => this.#call.cancel(), ABANDON_MS);
    this.#answer.catch(() => undefined).finally(() => clearTimeout(cancel));
    this.#call.end();
  }
}
