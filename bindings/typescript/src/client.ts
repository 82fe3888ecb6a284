// The client: where everything begins.
import { KeyServiceService } from "./gen/crownest/v1/key.js";
import { AuthenticationError, InvalidArgumentError } from "./errors.js";
import { CommandsById } from "./commands.js";
import { Events } from "./events.js";
import { Sandboxes } from "./sandboxes.js";
import { Templates } from "./templates.js";
import { Transport, type RequestOptions } from "./transport.js";
import { toIdentity, type Identity } from "./types.js";

export interface CrowNestOptions {
  /**
   * The API key, `cnk_…`; `CROWNEST_API_KEY` by default. Not needed for a `unix:` url, whose peer is
   * known by its credentials.
   */
  apiKey?: string;
  /**
   * The project to act in, by its id or name, for a key that is tied to none and for operators;
   * `default` by default. A key of a project acts in its own.
   */
  project?: string;
  /**
   * Where the service is: `http://host:port`, `https://host[:port]` or `unix:/path`; `CROWNEST_URL`,
   * or else `http://127.0.0.1:7070`, by default. `http:` sends the key in the clear: for loopback and
   * for networks that encrypt by themselves.
   */
  url?: string;
  /** How long one try of a request may take, in milliseconds; 30000 by default. */
  timeoutMs?: number;
  /**
   * How long, in milliseconds, a request is sent again, a broken stream resumed and input written
   * again while the service cannot be reached, as when it is restarted. By default 60000, but 5000
   * until the service has answered for the first time. 0: nothing is tried again.
   */
  retryWindowMs?: number;
  /** How often in a row at most; as often as `retryWindowMs` allows by default. */
  maxRetries?: number;
}

const DEFAULT_URL = "http://127.0.0.1:7070";
const DEFAULT_TIMEOUT_MS = 30_000;
/** Node's timers hold no more. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A connection to a CrowNest service. One client serves any number of sandboxes at once. */
export class CrowNest {
  readonly sandboxes: Sandboxes;
  /** Commands of whatever sandbox, by their id; `sandbox.commands` runs them. */
  readonly commands: CommandsById;
  readonly templates: Templates;
  /** What happens in the key's project, as it happens. */
  readonly events: Events;
  readonly #transport: Transport;

  /** Connects at the first call. Throws AuthenticationError without a key, InvalidArgumentError. */
  constructor(options: CrowNestOptions = {}) {
    const url = options.url ?? (process.env.CROWNEST_URL || DEFAULT_URL);
    const apiKey = options.apiKey ?? (process.env.CROWNEST_API_KEY || undefined);
    if (!apiKey && !url.startsWith("unix:")) {
      throw new AuthenticationError("There is no API key.", {
        code: "UNAUTHENTICATED",
        field: "apiKey",
        remedy:
          "Pass apiKey or set CROWNEST_API_KEY; an operator mints one with `crownest keys create`.",
      });
    }
    this.#transport = new Transport({
      url,
      apiKey,
      project: options.project,
      timeoutMs: number("timeoutMs", options.timeoutMs ?? DEFAULT_TIMEOUT_MS, 1, MAX_TIMER_MS),
      maxRetries: number("maxRetries", options.maxRetries ?? Infinity, 0),
      retryWindowMs:
        options.retryWindowMs === undefined
          ? undefined
          : number("retryWindowMs", options.retryWindowMs, 0),
    });
    this.sandboxes = new Sandboxes(this.#transport);
    this.commands = new CommandsById(this.#transport);
    this.templates = new Templates(this.#transport);
    this.events = new Events(this.#transport);
  }

  /** Tells who the caller is and what its key may do. */
  async whoami(options: RequestOptions = {}): Promise<Identity> {
    return toIdentity(await this.#transport.unary(KeyServiceService.whoAmI, {}, options));
  }

  /** Closes the connection; calls that are under way fail. */
  close(): void {
    this.#transport.close();
  }
}

function number(field: string, value: number, least: number, most = Infinity): number {
  if (value >= least && value <= most) return value;
  const range = most === Infinity ? `of at least ${least}` : `from ${least} to ${most}`;
  throw new InvalidArgumentError(`${field} must be a number ${range}.`, {
    code: "INVALID_ARGUMENT",
    field,
  });
}
