// A sandbox as an object to work with.
import { SandboxServiceService } from "./gen/crownest/v1/sandbox.js";
import { Artifacts } from "./artifacts.js";
import { Commands } from "./commands.js";
import { Files } from "./files.js";
import { Previews } from "./previews.js";
import type { RequestOptions, Transport } from "./transport.js";
import { toSandboxInfo, type SandboxInfo } from "./types.js";

// Node before 18.18 lacks the symbol that `await using` looks for.
(Symbol as { asyncDispose?: symbol }).asyncDispose ??= Symbol("Symbol.asyncDispose");

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
