// Sandboxes of the project.
import { SandboxServiceService, SandboxState as WireState } from "./gen/crownest/v1/sandbox.js";
import { InvalidArgumentError } from "./errors.js";
import { List, type ListOptions } from "./list.js";
import { Sandbox } from "./sandbox.js";
import { durationFromSeconds } from "./time.js";
import { newRequestId, type RequestOptions, type Transport } from "./transport.js";
import { toSandboxInfo, type Resources, type SandboxInfo } from "./types.js";

export interface CreateSandboxOptions extends RequestOptions {
  /** A template's name or `sha256:…` digest; `base` by default. */
  template?: string;
  /** Seconds that it lives, more than 0 and at most 86400; 300 by default. */
  ttl?: number;
  /** What it may use; what is left out takes its default. */
  resources?: Partial<Resources>;
  /** At most 32; keys 1 to 63 characters of `[a-z0-9._-]`, values up to 255 bytes. */
  labels?: Record<string, string>;
  /** Environment of every command in it; at most 256 variables and 64 KiB. */
  env?: Record<string, string>;
  /**
   * Seconds, 1 to 86400: it ends with `LEASE` when there was no `heartbeat` for so long; none by
   * default.
   */
  lease?: number;
  /** A living sandbox with whose end this one ends, with `PARENT`; none by default. */
  parentSandboxId?: string;
  /** Under which id the service does this once; made by the SDK by default. */
  requestId?: string;
}

export interface ListSandboxesOptions extends ListOptions {
  /** Only those in this state; any by default. */
  state?: "CREATING" | "RUNNING" | "PAUSED" | "KILLED" | "FAILED";
}

export class Sandboxes {
  readonly #transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /**
   * Creates a sandbox and returns it running. Errors: NotFoundError `TEMPLATE_NOT_FOUND`;
   * InvalidArgumentError with the field; QuotaError `SANDBOX_LIMIT`; UnavailableError.
   */
  async create(options: CreateSandboxOptions = {}): Promise<Sandbox> {
    const { resources } = options;
    const request = {
      requestId: options.requestId ?? newRequestId(),
      template: options.template ?? "",
      ttl: durationFromSeconds(options.ttl, "ttl"),
      resources: resources && {
        memoryBytes: 0,
        cpuMillis: 0,
        maxProcesses: 0,
        diskBytes: 0,
        diskInodes: 0,
        ioBytesPerSec: 0,
        maxOpenFiles: 0,
        maxPtys: 0,
        ...resources,
      },
      labels: options.labels ?? {},
      env: options.env ?? {},
      lease: durationFromSeconds(options.lease, "lease"),
      parentSandboxId: options.parentSandboxId ?? "",
    };
    return this.#handle(
      await this.#transport.unary(SandboxServiceService.create, request, options),
    );
  }

  /** Returns a sandbox, living or ended. Errors: NotFoundError `SANDBOX_NOT_FOUND`. */
  async get(sandboxId: string, options: RequestOptions = {}): Promise<Sandbox> {
    return this.#handle(
      await this.#transport.unary(SandboxServiceService.get, { sandboxId }, options),
    );
  }

  /** Lists the project's sandboxes, newest first. */
  list(options: ListSandboxesOptions = {}): List<Sandbox> {
    const state = WireState[options.state ?? "UNSPECIFIED"];
    if (state === undefined) {
      throw new InvalidArgumentError(`There is no state "${options.state}".`, {
        code: "INVALID_ARGUMENT",
        field: "state",
      });
    }
    return new List(async (pageToken) => {
      const request = { pageSize: options.pageSize ?? 0, pageToken, state };
      const page = await this.#transport.unary(SandboxServiceService.list, request, options);
      return {
        items: page.sandboxes.map((sandbox) => this.#handle({ sandbox })),
        nextPageToken: page.nextPageToken,
      };
    }, options.pageToken);
  }

  /**
   * Kills a sandbox and returns its tombstone; one that has ended is returned unchanged. Errors:
   * NotFoundError `SANDBOX_NOT_FOUND`.
   */
  async kill(sandboxId: string, options: RequestOptions = {}): Promise<SandboxInfo> {
    return toSandboxInfo(
      (await this.#transport.unary(SandboxServiceService.kill, { sandboxId }, options)).sandbox,
    );
  }

  #handle(response: { sandbox?: Parameters<typeof toSandboxInfo>[0] }): Sandbox {
    return new Sandbox(this.#transport, toSandboxInfo(response.sandbox));
  }
}
