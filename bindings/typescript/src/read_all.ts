// A stream of bytes gathered in memory, with a bound.
import { makeError } from "./errors.js";

const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;

/** Gathers a stream; more than `maxBytes` is refused with the name of the way that has no bound. */
export async function readAll(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes = DEFAULT_MAX_BYTES,
  instead: string,
): Promise<Buffer> {
  const kept: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > maxBytes) {
      throw makeError(`There are more than ${maxBytes} bytes.`, {
        code: "RESOURCE_EXHAUSTED",
        reason: "TOO_LARGE_FOR_MEMORY",
        field: "maxBytes",
        remedy: `Use ${instead}, or a larger maxBytes.`,
        retryable: false,
      });
    }
    kept.push(chunk);
  }
  return Buffer.concat(kept, size);
}
