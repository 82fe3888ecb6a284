// Files inside a running sandbox, resolved in it as its user.
import { FileServiceService, type WriteFileRequest } from "./gen/crownest/v1/file.js";
import { CrowNestError, InvalidArgumentError } from "./errors.js";
import { readAll } from "./read_all.js";
import { newRequestId, type RequestOptions, type Transport } from "./transport.js";
import { required, toFileEntry, type FileEntry } from "./types.js";

/** What a file is made of: text (as UTF-8), bytes, or bytes as they come. */
export type FileData = string | Uint8Array | AsyncIterable<Uint8Array>;

export interface ReadOptions extends RequestOptions {
  /** Where to begin, in bytes; 0 by default. */
  offset?: number;
  /** The most that is taken into memory; 64 MiB by default. `readStream` has no bound. */
  maxBytes?: number;
}

export interface WriteOptions extends RequestOptions {
  /** Permission bits of a new file, as in chmod; 0o644 by default. */
  mode?: number;
  /** Whether missing parent directories are made; false by default. */
  makeParents?: boolean;
  /**
   * Lets any process go on with this write after it failed, by the same call with the same id: 1 to
   * 64 characters of [A-Za-z0-9_-]. Not for a stream. What came of it stays beside the file, out of
   * sight, until then.
   */
  uploadId?: string;
}

/** Options of a change that is made once, however often it is retried. */
export interface ChangeOptions extends RequestOptions {
  /** Made for each call by default: 1 to 64 characters of [A-Za-z0-9_-]. */
  requestId?: string;
}

/** A directory's entries, by name. */
export interface Directory {
  entries: FileEntry[];
  /** True when there are more than the 10,000 that are returned. */
  truncated: boolean;
}

const CHUNK_BYTES = 256 * 1024;
/** What is larger goes on where it was cut off; what is not is sent again. */
const RESUME_BYTES = 1024 * 1024;

/**
 * The files of one sandbox. Paths are absolute or relative to `/workspace`, at most 4095 bytes,
 * without NUL and `..`.
 *
 * Errors of all methods: InvalidArgumentError `PATH_INVALID`; NotFoundError `FILE_NOT_FOUND`;
 * PreconditionError `FILE_NOT_REGULAR`, `SANDBOX_NOT_RUNNING`; PermissionError `FILE_PERMISSION`.
 */
export class Files {
  readonly #transport: Transport;
  readonly #sandboxId: string;

  /** @internal */
  constructor(transport: Transport, sandboxId: string) {
    this.#transport = transport;
    this.#sandboxId = sandboxId;
  }

  /** Reads a file as UTF-8 text. Also QuotaError `TOO_LARGE_FOR_MEMORY`. */
  async read(path: string, options: ReadOptions = {}): Promise<string> {
    return (await this.readBytes(path, options)).toString("utf8");
  }

  /** Reads a file's bytes. Also QuotaError `TOO_LARGE_FOR_MEMORY`. */
  async readBytes(path: string, options: ReadOptions = {}): Promise<Buffer> {
    // From the start again after a break: the file may have been replaced in the meantime.
    return this.#transport.retrying(options, () =>
      readAll(this.readStream(path, options), options.maxBytes, "readStream"),
    );
  }

  /** Reads a file chunk by chunk, at most 256 KiB each; a broken connection ends it with an error. */
  async *readStream(
    path: string,
    options: Omit<ReadOptions, "maxBytes"> = {},
  ): AsyncGenerator<Buffer, void, undefined> {
    const request = { sandboxId: this.#sandboxId, path, offset: options.offset ?? 0 };
    const { signal, timeoutMs } = options;
    for await (const { data } of this.#transport.stream(FileServiceService.read, request, {
      signal,
      timeoutMs,
      bounded: "all",
    })) {
      if (data.length > 0) yield data;
    }
  }

  /**
   * Writes a file whole: readers see the old one or the new one, never a part. Returns its size in
   * bytes. Also QuotaError `SANDBOX_DISK_FULL`. A stream is sent once. Text and bytes are sent again
   * after a broken connection, of more than 1 MiB only what has not come.
   */
  async write(
    path: string,
    data: FileData,
    options: WriteOptions = {},
  ): Promise<{ sizeBytes: number }> {
    const whole = typeof data === "string" ? Buffer.from(data) : data;
    const open = {
      sandboxId: this.#sandboxId,
      path,
      mode: options.mode ?? 0,
      makeParents: options.makeParents ?? false,
      uploadId: "",
      offset: 0,
      // Not for a stream, whose size nobody knows before its end.
      TotalBytes: undefined,
    };
    if (whole instanceof Uint8Array) return this.#writeWhole(open, whole, options);
    if (options.uploadId !== undefined) {
      throw new InvalidArgumentError("A stream cannot be gone on with.", {
        code: "INVALID_ARGUMENT",
        field: "uploadId",
        admitted: "no",
      });
    }
    return this.#send(open, whole, options);
  }

  async #writeWhole(
    open: Open,
    data: Uint8Array,
    options: WriteOptions,
  ): Promise<{ sizeBytes: number }> {
    const own = data.length > RESUME_BYTES ? newRequestId() : "";
    const parts = {
      ...open,
      uploadId: options.uploadId ?? own,
      TotalBytes: { $case: "totalBytes", value: data.length } as const,
    };
    let begun = options.uploadId !== undefined;
    return this.#transport.retrying(options, async () => {
      for (;;) {
        const come = begun && parts.uploadId ? await this.#uploaded(parts, options) : 0;
        // Under this id something else may have been written.
        const offset = come > data.length ? 0 : come;
        begun = true;
        try {
          return await this.#send({ ...parts, offset }, data.subarray(offset), options);
        } catch (error) {
          // More of an earlier try has come since.
          if (!hasReason(error, "UPLOAD_OFFSET")) throw error;
        }
      }
    });
  }

  /** How much of an upload is there. */
  async #uploaded({ sandboxId, path, uploadId }: Open, options: RequestOptions): Promise<number> {
    try {
      const request = { sandboxId, path, uploadId };
      return (await this.#transport.unaryOnce(FileServiceService.getUpload, request, options))
        .offset;
    } catch (error) {
      if (hasReason(error, "UPLOAD_NOT_FOUND")) return 0;
      throw error;
    }
  }

  async #send(
    open: Open,
    data: Uint8Array | AsyncIterable<Uint8Array>,
    options: RequestOptions,
  ): Promise<{ sizeBytes: number }> {
    const { sizeBytes } = await this.#transport.upload(
      FileServiceService.write,
      messages(open, data),
      { ...options, poison: { part: { $case: "open", value: open } } },
    );
    return { sizeBytes };
  }

  /** Lists a directory by name, `/workspace` by default. Also PreconditionError `FILE_NOT_A_DIRECTORY`. */
  async list(path = "", options: RequestOptions = {}): Promise<Directory> {
    const request = { sandboxId: this.#sandboxId, path };
    const { entries, truncated } = await this.#transport.unary(
      FileServiceService.list,
      request,
      options,
    );
    return { entries: entries.map(toFileEntry), truncated };
  }

  /** Describes a file, directory or symlink; a symlink itself, not what it points to. */
  async stat(path: string, options: RequestOptions = {}): Promise<FileEntry> {
    const request = { sandboxId: this.#sandboxId, path };
    const { entry } = await this.#transport.unary(FileServiceService.stat, request, options);
    return toFileEntry(required(entry, "the entry"));
  }

  /**
   * Makes a directory; with `makeParents` also those above it, and one that is there is fine. Also
   * AlreadyExistsError `FILE_EXISTS`, QuotaError `SANDBOX_DISK_FULL`.
   */
  async makeDir(
    path: string,
    options: ChangeOptions & { makeParents?: boolean } = {},
  ): Promise<void> {
    await this.#transport.unary(
      FileServiceService.makeDir,
      { ...this.#change(options), path, makeParents: options.makeParents ?? false },
      options,
    );
  }

  /**
   * Gives a file or directory another name, at once. Also AlreadyExistsError `FILE_EXISTS` unless
   * `replace`.
   */
  async move(
    fromPath: string,
    toPath: string,
    options: ChangeOptions & { replace?: boolean } = {},
  ): Promise<void> {
    await this.#transport.unary(
      FileServiceService.move,
      { ...this.#change(options), fromPath, toPath, replace: options.replace ?? false },
      options,
    );
  }

  /**
   * Removes a file, a symlink (never what it points to) or a directory. Also PreconditionError
   * `DIRECTORY_NOT_EMPTY` unless `recursive`.
   */
  async remove(path: string, options: ChangeOptions & { recursive?: boolean } = {}): Promise<void> {
    await this.#transport.unary(
      FileServiceService.remove,
      { ...this.#change(options), path, recursive: options.recursive ?? false },
      options,
    );
  }

  #change(options: ChangeOptions): { sandboxId: string; requestId: string } {
    return { sandboxId: this.#sandboxId, requestId: options.requestId ?? newRequestId() };
  }
}

type Open = Extract<NonNullable<WriteFileRequest["part"]>, { $case: "open" }>["value"];

function hasReason(error: unknown, reason: string): boolean {
  return error instanceof CrowNestError && error.reason === reason;
}

async function* messages(
  open: Open,
  data: Uint8Array | AsyncIterable<Uint8Array>,
): AsyncGenerator<WriteFileRequest, void, undefined> {
  yield { part: { $case: "open", value: open } };
  for await (const chunk of data instanceof Uint8Array ? [data] : data) {
    for (let at = 0; at < chunk.length; at += CHUNK_BYTES) {
      const piece = chunk.subarray(at, at + CHUNK_BYTES);
      yield {
        part: { $case: "data", value: Buffer.from(piece.buffer, piece.byteOffset, piece.length) },
      };
    }
  }
}
