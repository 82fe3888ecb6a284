// A sandbox as an object to work with.
import "./dispose.js";
import { SandboxServiceService } from "./gen/crownest/v1/sandbox.js";
import { Artifacts } from "./artifacts.js";
import { Commands } from "./commands.js";
import { PreconditionError } from "./errors.js";
import { Files } from "./files.js";
import { KeepAlive, type KeepAliveOptions } from "./keep_alive.js";
import { Previews } from "./previews.js";
import { durationFromSeconds } from "./time.js";
import { newRequestId, type RequestOptions, type Transport } from "./transport.js";
import {
  required,
  toSandboxInfo,
  toSandboxStats,
  type SandboxInfo,
  type SandboxStats,
} from "./types.js";

/** What `update` changes; what is left out stays. */
export interface SandboxChange {
  /** Seconds that it lives from now on, more than 0 and at most 86400. */
  ttl?: number;
  /** The labels that take the place of those it has. */
  labels?: Record<string, string>;
}

/**
 * A sandbox, living or ended: an ended one still gives its commands, logs and artifacts.
 *
 * `await using sandbox = await client.sandboxes.create(…)` kills it when the block is left.
 */
export class Sandbox implements AsyncDisposable {
  readonly sandboxId: string;
  readonly commands: Commands;
  readonly files: Files;
  readonly previews: Previews;
  readonly artifacts: Artifacts;
  readonly #transport: Transport;
  #info: SandboxInfo;

  /** @internal */
  constructor(transport: Transport, info: SandboxInfo) {
    this.#transport = transport;
    this.#info = info;
    this.sandboxId = info.sandboxId;
    this.commands = new Commands(transport, info.sandboxId);
    this.files = new Files(transport, info.sandboxId);
    this.previews = new Previews(transport, info.sandboxId);
    this.artifacts = new Artifacts(transport, info.sandboxId);
  }

  /** The sandbox as the service described it last; `refresh` asks again. */
  get info(): SandboxInfo {
    return this.#info;
  }

  /** Asks the service how the sandbox is. Errors: NotFoundError `SANDBOX_NOT_FOUND`. */
  async refresh(options: RequestOptions = {}): Promise<SandboxInfo> {
    const { sandboxId } = this;
    this.#info = toSandboxInfo(
      (await this.#transport.unary(SandboxServiceService.get, { sandboxId }, options)).sandbox,
    );
    return this.#info;
  }

  /**
   * Stops every process of the sandbox where it is, until it is resumed; its TTL and its lease go
   * on. Errors: NotFoundError `SANDBOX_NOT_FOUND`; PreconditionError `SANDBOX_NOT_RUNNING`.
   */
  async pause(options: RequestOptions = {}): Promise<SandboxInfo> {
    const { sandboxId } = this;
    this.#info = toSandboxInfo(
      (await this.#transport.unary(SandboxServiceService.pause, { sandboxId }, options)).sandbox,
    );
    return this.#info;
  }

  /** Lets the processes of a paused sandbox go on. Errors as `pause`. */
  async resume(options: RequestOptions = {}): Promise<SandboxInfo> {
    const { sandboxId } = this;
    this.#info = toSandboxInfo(
      (await this.#transport.unary(SandboxServiceService.resume, { sandboxId }, options)).sandbox,
    );
    return this.#info;
  }

  /** Changes how long the sandbox lives, or its labels. Errors as `pause`, InvalidArgumentError. */
  async update(
    change: SandboxChange,
    options: RequestOptions & { requestId?: string } = {},
  ): Promise<SandboxInfo> {
    const request = {
      requestId: options.requestId ?? newRequestId(),
      sandboxId: this.sandboxId,
      ttl: durationFromSeconds(change.ttl, "ttl"),
      replaceLabels: change.labels !== undefined,
      labels: change.labels ?? {},
    };
    this.#info = toSandboxInfo(
      (await this.#transport.unary(SandboxServiceService.update, request, options)).sandbox,
    );
    return this.#info;
  }

  /** Renews the sandbox's lease and returns when it runs out. Errors as `pause`, and `NO_LEASE`. */
  async heartbeat(options: RequestOptions = {}): Promise<Date> {
    const { sandboxId } = this;
    const { leaseExpireTime } = await this.#transport.unary(
      SandboxServiceService.heartbeat,
      { sandboxId },
      options,
    );
    return required(leaseExpireTime, "the lease's expire_time");
  }

  /**
   * Renews the sandbox's lease, which it must have been created with, until the returned object is
   * stopped or disposed of:
   *
   *     using kept = sandbox.keepAlive();
   *
   * Throws PreconditionError `NO_LEASE`.
   */
  keepAlive(options: KeepAliveOptions = {}): KeepAlive {
    const { leaseSeconds } = this.#info;
    if (leaseSeconds === null) {
      throw new PreconditionError("The sandbox was created without a lease.", {
        code: "FAILED_PRECONDITION",
        reason: "NO_LEASE",
        remedy: "Create it with `lease`.",
        admitted: "no",
      });
    }
    return new KeepAlive(
      (timeoutMs) => this.heartbeat({ timeoutMs, maxRetries: 0 }),
      leaseSeconds,
      options,
    );
  }

  /** What the sandbox has used and uses now, and what keeps it alive. Errors as `pause`. */
  async stats(options: RequestOptions = {}): Promise<SandboxStats> {
    const { sandboxId } = this;
    return toSandboxStats(
      await this.#transport.unary(SandboxServiceService.stats, { sandboxId }, options),
    );
  }

  /** Kills the sandbox and all that runs in it, and returns its tombstone; again changes nothing. */
  async kill(options: RequestOptions = {}): Promise<SandboxInfo> {
    const { sandboxId } = this;
    this.#info = toSandboxInfo(
      (await this.#transport.unary(SandboxServiceService.kill, { sandboxId }, options)).sandbox,
    );
    return this.#info;
  }

  /** Kills the sandbox. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
