// A time limit on each wait for the service.
import { makeError } from "./errors.js";

/** Bounds one wait at a time; the time in which the caller thinks is not counted. */
export class Watchdog {
  fired = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly ms: number,
    private readonly onFire: () => void,
  ) {}

  arm(): void {
    this.disarm();
    if (this.fired) return;
    this.#timer = setTimeout(() => {
      this.fired = true;
      this.onFire();
    }, this.ms);
  }

  disarm(): void {
    clearTimeout(this.#timer);
  }

  error() {
    return makeError(`The service did not answer within ${this.ms} ms.`, {
      code: "DEADLINE_EXCEEDED",
    });
  }
}
