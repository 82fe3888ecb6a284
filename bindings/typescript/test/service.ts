// The real service that CROWNEST_URL and CROWNEST_API_KEY name, for the tests that need one.
import { readFileSync } from "node:fs";
import type { TestContext } from "node:test";
import { CrowNest, type CrowNestOptions } from "@crownest/sdk";

const missing = ["CROWNEST_URL", "CROWNEST_API_KEY"].filter((name) => !process.env[name]);

/** Options of a test against the service: skipped when there is none. */
export const needsService = {
  skip: missing.length > 0 && `needs a running service: ${missing.join(" and ")} not set`,
  timeout: 60_000,
};

/** Options of a test that kills the service, whose `crownest up` starts it again. */
export const needsRunDirectory = {
  skip:
    needsService.skip ||
    (!process.env.CROWNEST_RUN_DIR && "needs a service to kill: CROWNEST_RUN_DIR is not set"),
  timeout: 180_000,
};

/** A client that is closed when the test, with all that it disposes of, is over. */
export function connect(t: TestContext, options: CrowNestOptions = {}): CrowNest {
  const client = new CrowNest(options);
  t.after(() => client.close());
  return client;
}

/**
 * The process of one of the service's programs, as `crownest up` wrote it down when it was ready; 0
 * while there is none.
 */
export function processOf(program: "crownestd" | "sandboxd"): number {
  try {
    return Number(readFileSync(`${process.env.CROWNEST_RUN_DIR}/${program}.pid`, "utf8"));
  } catch {
    return 0;
  }
}

/** Kills a program without a warning, and waits until another one has taken its place. */
export async function killAndAwait(program: "crownestd" | "sandboxd"): Promise<void> {
  const killed = processOf(program);
  process.kill(killed, "SIGKILL");
  for (let now = killed; now === killed || now === 0; now = processOf(program))
    await new Promise((resolve) => setTimeout(resolve, 20));
}
