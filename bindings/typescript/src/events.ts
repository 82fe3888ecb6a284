// Events: entries of the audit, as they are made.
import {
  AuditOutcome,
  AuditServiceService,
  type AuditEntry,
  type WatchAuditResponse,
} from "./gen/crownest/v1/audit.js";
import { CrowNestError } from "./errors.js";
import { Patience } from "./follow.js";
import type { Transport } from "./transport.js";
import { required } from "./types.js";

/** Something that was done, or refused, in the key's project. */
export interface AuditEvent {
  /** Its number in the service's audit: what to go on after. */
  sequence: number;
  time: Date;
  /** `key_…`, `operator:<name>`, `visitor`, `anonymous` or `system`. */
  actor: string;
  /** A noun and a verb, such as `sandbox.create`. */
  action: string;
  outcome: "ok" | "denied" | "failed" | "begun";
  /** What it is about; empty if that has no id. */
  resourceId: string;
  /** The sandbox that the resource is in, or empty. */
  sandboxId: string;
  /** The request that asked for it, or empty. */
  requestId: string;
  /** Why, in a word, such as `TTL` or `SCOPE_MISSING`; or empty. */
  reason: string;
  /** More about it, for people; or empty. */
  detail: string;
}

export interface WatchOptions {
  /** Begin after this event's `sequence`; without it with what comes from now on. 0: from the first. */
  after?: number;
  /** Only these: actions such as `sandbox.end`, or nouns such as `command`; at most 16. */
  actions?: string[];
  /** Only what is about this; of a sandbox also what is in it. */
  resourceId?: string;
  signal?: AbortSignal;
}

export class Events {
  readonly #transport: Transport;

  /** @internal */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /**
   * Yields events in order until the loop is left or the signal aborts. When the connection is cut
   * or the service restarted it goes on where it was: nothing is lost and nothing comes twice.
   * Errors: PermissionError `SCOPE_MISSING` without `audit:read`.
   */
  async *watch(options: WatchOptions = {}): AsyncGenerator<AuditEvent, void, undefined> {
    const { actions = [], resourceId = "", signal } = options;
    const patience = new Patience(this.#transport.retries());
    let after = options.after;
    for (;;) {
      patience.attempt();
      try {
        const responses = this.#transport.stream(
          AuditServiceService.watch,
          {
            afterSequence: after ?? 0,
            liveOnly: after === undefined,
            actions,
            resourceId,
            allProjects: false,
          },
          { signal, bounded: "first" },
        );
        for await (const { sequence, entry } of responses as AsyncIterable<WatchAuditResponse>) {
          after = sequence;
          patience.progress();
          if (entry) yield toEvent(entry);
        }
        return;
      } catch (error) {
        if (!(error instanceof CrowNestError) || signal?.aborted) throw error;
        const wait = patience.wait(error, after !== undefined);
        if (wait === null) throw error;
        await this.#transport.pause(wait, signal);
      }
    }
  }
}

const OUTCOMES: Partial<Record<AuditOutcome, AuditEvent["outcome"]>> = {
  [AuditOutcome.OK]: "ok",
  [AuditOutcome.DENIED]: "denied",
  [AuditOutcome.FAILED]: "failed",
  [AuditOutcome.BEGUN]: "begun",
};

function toEvent(entry: AuditEntry): AuditEvent {
  const { sequence, actor, action, resourceId, sandboxId, requestId, reason, detail } = entry;
  return {
    sequence,
    time: required(entry.time, "the event's time"),
    actor,
    action,
    outcome: OUTCOMES[entry.outcome] ?? "ok",
    resourceId,
    sandboxId,
    requestId,
    reason,
    detail,
  };
}
