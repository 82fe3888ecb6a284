// Artifacts of a sandbox: collect, list, download.
import { createHash } from "node:crypto";
import { ArtifactServiceService } from "./gen/crownest/v1/artifact.js";
import { isResumable, makeError } from "./errors.js";
import { List, type ListOptions } from "./list.js";
import { readAll } from "./read_all.js";
import { newRequestId, type RequestOptions, type Transport } from "./transport.js";
import { toArtifact, type Artifact } from "./types.js";

/** What to collect. */
export interface CollectItem {
  /**
   * A path inside the sandbox, absolute or relative to `/workspace`, without `..`; its last
   * components may hold the wildcards `*` and `?`. Symlinks are never followed.
   */
  path: string;
  /** The artifact's name, at most 255 bytes without `/`; the file's base name by default. */
  name?: string;
}

export interface DownloadOptions extends RequestOptions {
  /** The most that `download` takes into memory; 64 MiB by default. `downloadStream` has no bound. */
  maxBytes?: number;
}

/** @internal */
export function collectItems(items: readonly (string | CollectItem)[]): Required<CollectItem>[] {
  return items.map((item) =>
    typeof item === "string"
      ? { path: item, name: "" }
      : { path: item.path, name: item.name ?? "" },
  );
}

/** The artifacts of one sandbox, also of one that has ended. */
export class Artifacts {
  readonly #transport: Transport;
  readonly #sandboxId: string;

  /** @internal */
  constructor(transport: Transport, sandboxId: string) {
    this.#transport = transport;
    this.#sandboxId = sandboxId;
  }

  /**
   * Makes artifacts of files of the running sandbox, at most 64 items, all of them or none. Errors:
   * InvalidArgumentError `COLLECT_PATH_INVALID`; NotFoundError `COLLECT_NO_MATCH`; PreconditionError
   * `COLLECT_NOT_REGULAR`; QuotaError `ARTIFACT_TOO_LARGE`; `field` names the item.
   */
  async collect(
    items: readonly (string | CollectItem)[],
    options: RequestOptions & { requestId?: string } = {},
  ): Promise<Artifact[]> {
    const request = {
      requestId: options.requestId ?? newRequestId(),
      sandboxId: this.#sandboxId,
      items: collectItems(items),
    };
    return (
      await this.#transport.unary(ArtifactServiceService.collect, request, options)
    ).artifacts.map(toArtifact);
  }

  /** Lists the sandbox's artifacts, newest first. */
  list(options: ListOptions = {}): List<Artifact> {
    return new List(async (pageToken) => {
      const request = { sandboxId: this.#sandboxId, pageSize: options.pageSize ?? 0, pageToken };
      const page = await this.#transport.unary(ArtifactServiceService.list, request, options);
      return { items: page.artifacts.map(toArtifact), nextPageToken: page.nextPageToken };
    }, options.pageToken);
  }

  /** Returns an artifact. Errors: NotFoundError `ARTIFACT_NOT_FOUND`. */
  async get(artifactId: string, options: RequestOptions = {}): Promise<Artifact> {
    return toArtifact(
      (await this.#transport.unary(ArtifactServiceService.get, { artifactId }, options)).artifact,
    );
  }

  /**
   * Downloads an artifact into memory and verifies its digest. Errors: NotFoundError
   * `ARTIFACT_NOT_FOUND`; QuotaError `TOO_LARGE_FOR_MEMORY`; InternalError `DIGEST_MISMATCH`.
   */
  async download(artifact: Artifact | string, options: DownloadOptions = {}): Promise<Uint8Array> {
    return readAll(this.downloadStream(artifact, options), options.maxBytes, "downloadStream");
  }

  /**
   * Downloads an artifact chunk by chunk, at most 256 KiB each, resuming when the connection breaks.
   * The digest is verified at the end: a mismatch throws InternalError `DIGEST_MISMATCH` after the
   * last chunk. Errors: NotFoundError `ARTIFACT_NOT_FOUND`.
   */
  async *downloadStream(
    artifact: Artifact | string,
    options: RequestOptions = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { artifactId, digest, sizeBytes } =
      typeof artifact === "string" ? await this.get(artifact, options) : artifact;
    const hash = createHash("sha256");
    for await (const data of this.#bytes(artifactId, sizeBytes, options)) {
      hash.update(data);
      yield data;
    }
    const got = `sha256:${hash.digest("hex")}`;
    if (got === digest) return;
    throw makeError(`The bytes of ${artifactId} have the digest ${got}, not ${digest}.`, {
      code: "DATA_LOSS",
      reason: "DIGEST_MISMATCH",
      retryable: false,
    });
  }

  /** An artifact never changes, so a broken download goes on where it stopped. */
  async *#bytes(
    artifactId: string,
    sizeBytes: number,
    options: RequestOptions,
  ): AsyncGenerator<Buffer, void, undefined> {
    const { signal, timeoutMs } = options;
    const retries = this.#transport.retries(options);
    let offset = 0;
    for (;;) {
      try {
        const stream = this.#transport.stream(
          ArtifactServiceService.download,
          { artifactId, offset },
          { signal, timeoutMs, bounded: "all" },
        );
        for await (const { data } of stream) {
          retries.reset();
          offset += data.length;
          if (data.length > 0) yield data;
        }
        if (offset >= sizeBytes) return;
        throw makeError("The download ended early.", { code: "UNAVAILABLE" });
      } catch (error) {
        if (signal?.aborted || !isResumable(error)) throw error;
        const wait = retries.next(error);
        if (wait === null) throw error;
        await this.#transport.pause(wait, signal);
      }
    }
  }
}
