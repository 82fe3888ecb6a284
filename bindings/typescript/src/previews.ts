// Previews of a sandbox: its ports as authenticated URLs.
import { PreviewServiceService } from "./gen/crownest/v1/preview.js";
import { NotFoundError } from "./errors.js";
import { List, type ListOptions } from "./list.js";
import { newRequestId, type RequestOptions, type Transport } from "./transport.js";
import { toPreview, type CreatedPreview, type Preview } from "./types.js";

export const PREVIEW_TOKEN_HEADER = "X-CrowNest-Preview-Token";

export interface CreatePreviewOptions extends RequestOptions {
  /** The TCP port inside the sandbox, 1 to 65535. */
  port: number;
  /** Under which id the service does this once; made by the SDK by default. */
  requestId?: string;
}

/** The previews of one sandbox. */
export class Previews {
  readonly #transport: Transport;
  readonly #sandboxId: string;

  /** @internal */
  constructor(transport: Transport, sandboxId: string) {
    this.#transport = transport;
    this.#sandboxId = sandboxId;
  }

  /**
   * Opens a port. The answer holds the token, which is never shown again. Errors:
   * InvalidArgumentError `PORT_INVALID`; PreconditionError `SANDBOX_NOT_RUNNING`; QuotaError
   * `PREVIEW_LIMIT`.
   */
  async create(options: CreatePreviewOptions): Promise<CreatedPreview> {
    const request = {
      requestId: options.requestId ?? newRequestId(),
      sandboxId: this.#sandboxId,
      port: options.port,
    };
    const { preview, token } = await this.#transport.unary(
      PreviewServiceService.create,
      request,
      options,
    );
    return { ...toPreview(preview), token, headers: { [PREVIEW_TOKEN_HEADER]: token } };
  }

  /** Returns a preview, without its token. Errors: NotFoundError `PREVIEW_NOT_FOUND`. */
  async get(previewId: string, options: RequestOptions = {}): Promise<Preview> {
    return toPreview(
      (await this.#transport.unary(PreviewServiceService.get, { previewId }, options)).preview,
    );
  }

  /** Lists the sandbox's previews, newest first. */
  list(options: ListOptions = {}): List<Preview> {
    return new List(async (pageToken) => {
      const request = { sandboxId: this.#sandboxId, pageSize: options.pageSize ?? 0, pageToken };
      const page = await this.#transport.unary(PreviewServiceService.list, request, options);
      return { items: page.previews.map(toPreview), nextPageToken: page.nextPageToken };
    }, options.pageToken);
  }

  /** Closes a preview: from then on its URL is 404. Errors: NotFoundError `PREVIEW_NOT_FOUND`. */
  async delete(previewId: string, options: RequestOptions = {}): Promise<void> {
    let unanswered = false;
    await this.#transport.retrying(options, async () => {
      try {
        await this.#transport.unaryOnce(PreviewServiceService.delete, { previewId }, options);
      } catch (error) {
        // An attempt whose answer was lost may have closed it.
        if (error instanceof NotFoundError && unanswered) return;
        unanswered = true;
        throw error;
      }
    });
  }
}
