// Templates of this host.
import { TemplateServiceService } from "./gen/crownest/v1/template.js";
import type { RequestOptions, Transport } from "./transport.js";
import { toTemplate, type Template } from "./types.js";

export class Templates {
  readonly #transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Lists the templates by name; at most 256, so that there is one page. */
  async list(options: RequestOptions = {}): Promise<Template[]> {
    return (await this.#transport.unary(TemplateServiceService.list, {}, options)).templates.map(
      toTemplate,
    );
  }

  /** Returns a template by its name or `sha256:…` digest. Errors: NotFoundError `TEMPLATE_NOT_FOUND`. */
  async get(template: string, options: RequestOptions = {}): Promise<Template> {
    return toTemplate(
      (await this.#transport.unary(TemplateServiceService.get, { template }, options)).template,
    );
  }
}
