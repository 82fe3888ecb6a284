// Signals by name, with Linux's numbers: not those of every system that the SDK runs on.
import { InvalidArgumentError } from "./errors.js";

const SIGNALS = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
} as const;

/** A signal's name, such as `SIGINT`. */
export type SignalName = keyof typeof SIGNALS;

/** The number of a signal that is given by name or number. */
export function signalNumber(signal: SignalName | number): number {
  const number: number | undefined = typeof signal === "number" ? signal : SIGNALS[signal];
  if (number !== undefined) return number;
  throw new InvalidArgumentError(`There is no signal "${signal}".`, {
    code: "INVALID_ARGUMENT",
    field: "signal",
  });
}
