// What the SDK hands out: the messages of proto/crownest/v1 with enum names without their prefix,
// dates as Date, durations in seconds, and `null` for what does not apply.
import type { Artifact as ArtifactMessage } from "./gen/crownest/v1/artifact.js";
import * as command from "./gen/crownest/v1/command.js";
import * as file from "./gen/crownest/v1/file.js";
import type { Preview as PreviewMessage } from "./gen/crownest/v1/preview.js";
import * as sandbox from "./gen/crownest/v1/sandbox.js";
import type { Template as TemplateMessage } from "./gen/crownest/v1/template.js";
import type { WhoAmIResponse } from "./gen/crownest/v1/key.js";
import { durationToMs } from "./time.js";
import { InternalError } from "./errors.js";

/** Takes strings besides those that this version knows, so that a newer service breaks nothing. */
type Open<T extends string> = T | (string & {});

/** `RUNNING` takes commands, `PAUSED` stands still; `KILLED` ended as intended, `FAILED` did not. */
export type SandboxState = Open<"CREATING" | "RUNNING" | "PAUSED" | "KILLED" | "FAILED">;
/** Why a sandbox ended. */
export type EndCause = Open<
  "KILLED" | "TTL" | "CREATE_FAILED" | "INIT_DIED" | "HOST_LOST" | "LEASE" | "PARENT" | "BUDGET"
>;
/** Why a command ended. */
export type ExitCause = Open<
  "EXITED" | "SIGNALED" | "TIMEOUT" | "CANCELLED" | "SANDBOX_ENDED" | "HOST_LOST" | "OUT_OF_MEMORY"
>;
export type FileType = Open<"REGULAR" | "DIRECTORY" | "SYMLINK" | "OTHER">;

/** What a sandbox may use. */
export interface Resources {
  /** Bytes of memory, files in the writable layer included; 32 MiB to 16 GiB, 512 MiB by default. */
  memoryBytes: number;
  /** Thousandths of a CPU; 50 to 64000, 1000 by default. */
  cpuMillis: number;
  /** Processes and threads at one time; 8 to 32768, 512 by default. */
  maxProcesses: number;
  /** Bytes of the writable layer; 1 MiB to 64 GiB, 1 GiB by default. */
  diskBytes: number;
  /**
   * Files in the writable layer; 256 to 16 million, by default one for each 4 KiB of it, at most a
   * million.
   */
  diskInodes: number;
  /**
   * Bytes a second read from the host's disks, and as many written; 1 MiB to 64 GiB, 256 MiB by
   * default.
   */
  ioBytesPerSec: number;
  /** Open files of one process; 64 to 65536, 4096 by default. */
  maxOpenFiles: number;
  /** Terminals at one time; 1 to 256, 64 by default. */
  maxPtys: number;
}

/** A sandbox as the service describes it, living or ended. */
export interface SandboxInfo {
  /** `sbx_…`, sortable by creation time. */
  sandboxId: string;
  /** `prj_…` */
  projectId: string;
  state: SandboxState;
  /** The template as it was asked for. */
  template: string;
  /** `sha256:…` of the template's image. */
  templateDigest: string;
  resources: Resources;
  createTime: Date;
  /** `null` until it runs. */
  startTime: Date | null;
  /** When the TTL ends it. */
  expireTime: Date;
  /** `null` while it lives. */
  endTime: Date | null;
  /** `null` while it lives. */
  endCause: EndCause | null;
  /** Empty when the cause says it all. */
  endDetail: string;
  labels: Record<string, string>;
  /** CPU time of everything that ran in it, in microseconds; 0 while it lives. */
  cpuUsec: number;
  /** The most memory that it had, in bytes; 0 while it lives, or where the host does not say. */
  memoryPeakBytes: number;
  /** Seconds that it lives without a heartbeat; `null` for none. */
  leaseSeconds: number | null;
  /** The sandbox with which it ends; `null` for none. */
  parentSandboxId: string | null;
  /** Who created it: `key_…` or `operator:<name>`. */
  createdBy: string;
  /** Who ended it; `system` for the service itself, null while it lives. */
  endedBy: string | null;
}

/** What a living sandbox has used and uses now. */
export interface SandboxStats {
  /** CPU time of all that ran in it, in microseconds. */
  cpuUsec: number;
  /** Memory in use, in bytes; files of a writable layer in memory count. */
  memoryBytes: number;
  /** The most that it had, in bytes; 0 where the host does not say. */
  memoryPeakBytes: number;
  /** Processes and threads. */
  processes: number;
  /** Commands that run. */
  commands: number;
  /** Processes that the kernel has killed for want of memory. */
  oomKills: number;
  /** When its lease runs out unless it is renewed; `null` without one. */
  leaseExpireTime: Date | null;
  /** Why it is alive still, a line for each thing that keeps it. */
  keptBy: string[];
}

/** What a command used. */
export interface CommandUsage {
  /** From start to end, in seconds. */
  wallSeconds: number;
  /** CPU time of all its processes, in microseconds. */
  cpuUsec: number;
  /** The largest resident set of one of its processes, in bytes. */
  maxRssBytes: number;
  /** The most memory that all its processes had together, in bytes; 0 where the host does not say. */
  memoryPeakBytes: number;
}

/** A command as the service describes it, running or ended. */
export interface Command {
  /** `cmd_…` */
  commandId: string;
  projectId: string;
  sandboxId: string;
  /** What was executed; a shell line stands as its third element. */
  argv: string[];
  cwd: string;
  user: string;
  startTime: Date;
  /** `null` while it runs. */
  endTime: Date | null;
  /** `null` while it runs. */
  exitCause: ExitCause | null;
  /** `null` unless it exited by itself. */
  exitCode: number | null;
  /** The number of the signal that ended it; `null` unless one did. */
  signal: number | null;
  /** Whether it has a controlling terminal. */
  terminal: boolean;
  /** Whether it was started with an input to write to. */
  stdin: boolean;
  /** Bytes of its log so far, of both streams. */
  logBytes: number;
  /** Whether its log was removed, for the project keeps it no longer. */
  logExpired: boolean;
  /** `null` while it runs. */
  usage: CommandUsage | null;
}

/** A file in durable, content-addressed storage. */
export interface Artifact {
  /** `art_…` */
  artifactId: string;
  projectId: string;
  sandboxId: string;
  /** The command that declared it; `null` when `artifacts.collect` made it. */
  commandId: string | null;
  name: string;
  /** Where the file stood in the sandbox. */
  path: string;
  sizeBytes: number;
  /** `sha256:` and the content's digest in hex. */
  digest: string;
  createTime: Date;
}

/** A declared path that did not become an artifact, and why. */
export interface CollectFailure {
  path: string;
  /** A stable name, such as `COLLECT_NO_MATCH`. */
  reason: string;
  /** What to do about it. */
  message: string;
}

/** A stretch of a log that was not kept. */
export interface LogGap {
  /** The first byte that is missing. */
  fromOffset: number;
  /** The first byte after it. */
  toOffset: number;
  /** A stable name, such as `LOG_LIMIT`. */
  reason: string;
}

/** One event of a command's log. Offsets count the bytes of both streams in the order kept. */
export type LogEvent =
  | { type: "output"; offset: number; stream: "stdout" | "stderr"; time: Date; data: Buffer }
  | ({ type: "gap" } & LogGap)
  | { type: "exited"; command: Command; artifacts: Artifact[]; collectFailures: CollectFailure[] };

/** A port of a sandbox opened as an authenticated URL. */
export interface Preview {
  /** `prv_…` */
  previewId: string;
  projectId: string;
  sandboxId: string;
  port: number;
  /** Needs the token, in the header `X-CrowNest-Preview-Token` or once as `?crownest_token=…`. */
  url: string;
  createTime: Date;
}

/** A preview as `create` returns it: the only time that its token is shown. */
export interface CreatedPreview extends Preview {
  /** Opens this preview and nothing else. */
  token: string;
  /** The header to send, ready for `fetch(preview.url, { headers: preview.headers })`. */
  headers: Record<string, string>;
}

/** A named, digest-addressed, read-only root file system. */
export interface Template {
  name: string;
  /** `sha256:…` of the image. */
  digest: string;
  sizeBytes: number;
  createTime: Date;
}

/** An entry of a directory. */
export interface FileEntry {
  /** The name alone; bytes that are not UTF-8 stand as U+FFFD. */
  name: string;
  /** The exact bytes of a name that is not UTF-8; `null` when `name` is exact. */
  rawName: Buffer | null;
  type: FileType;
  /** 0 for what is not a regular file. */
  sizeBytes: number;
  /** Permission bits, as in chmod. */
  mode: number;
  modifyTime: Date;
}

/** An API key as the service describes it, without its secret. */
export interface Key {
  /** `key_…` */
  keyId: string;
  /** Empty for a key that is tied to no project. */
  projectId: string;
  label: string;
  /** What it may do, as `resource:action`. */
  scopes: string[];
  createTime: Date;
  /** `null` means that it does not expire. */
  expireTime: Date | null;
  /** `null` while it is valid. */
  revokeTime: Date | null;
  /** `null` means that it was never used; up to a minute old. */
  lastUseTime: Date | null;
}

/** Who the caller is. */
export interface Identity {
  /** Whether the caller is an operator: on the local socket, or by the token of a session. */
  operator: boolean;
  /** `null` for an operator. */
  key: Key | null;
  /** The project in which the caller acts. */
  projectId: string;
}

/** A member that the contract says is never unset. */
export function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) {
    throw new InternalError(`The service's answer lacks ${what}.`, {
      code: "INTERNAL",
      retryable: false,
    });
  }
  return value;
}

/** `SANDBOX_STATE_RUNNING` without its prefix; `null` for what is unspecified. */
function enumName<T extends string>(value: string, prefix: string): Open<T> | null {
  const name = value.startsWith(prefix) ? value.slice(prefix.length) : value;
  return name === "UNSPECIFIED" ? null : name;
}

export function toSandboxInfo(message: sandbox.Sandbox | undefined): SandboxInfo {
  const m = required(message, "the sandbox");
  return {
    sandboxId: m.sandboxId,
    projectId: m.projectId,
    state: enumName<"RUNNING">(m.state, "SANDBOX_STATE_") ?? "UNRECOGNIZED",
    template: m.template,
    templateDigest: m.templateDigest,
    resources: required(m.resources, "the sandbox's resources"),
    createTime: required(m.createTime, "the sandbox's create_time"),
    startTime: m.startTime ?? null,
    expireTime: required(m.expireTime, "the sandbox's expire_time"),
    endTime: m.endTime ?? null,
    endCause: enumName<"TTL">(m.endCause, "END_CAUSE_"),
    endDetail: m.endDetail,
    labels: m.labels,
    cpuUsec: m.cpuUsec,
    memoryPeakBytes: m.memoryPeakBytes,
    leaseSeconds: m.lease ? durationToMs(m.lease) / 1000 : null,
    parentSandboxId: m.parentSandboxId || null,
    createdBy: m.createdBy,
    endedBy: m.endedBy || null,
  };
}

export function toSandboxStats(m: sandbox.SandboxStatsResponse): SandboxStats {
  return { ...m, leaseExpireTime: m.leaseExpireTime ?? null };
}

export function toCommand(message: command.Command | undefined): Command {
  const m = required(message, "the command");
  const exitCause = enumName<"EXITED">(m.exitCause, "EXIT_CAUSE_");
  return {
    commandId: m.commandId,
    projectId: m.projectId,
    sandboxId: m.sandboxId,
    argv: m.argv,
    cwd: m.cwd,
    user: m.user,
    startTime: required(m.startTime, "the command's start_time"),
    endTime: m.endTime ?? null,
    exitCause,
    exitCode: exitCause === "EXITED" ? m.exitCode : null,
    signal: m.signal || null,
    terminal: m.terminal,
    stdin: m.keepStdin,
    logBytes: m.logBytes,
    logExpired: m.logExpired,
    usage: m.usage
      ? {
          wallSeconds: m.usage.wall ? durationToMs(m.usage.wall) / 1000 : 0,
          cpuUsec: m.usage.cpuUsec,
          maxRssBytes: m.usage.maxRssBytes,
          memoryPeakBytes: m.usage.memoryPeakBytes,
        }
      : null,
  };
}

export function toArtifact(message: ArtifactMessage | undefined): Artifact {
  const m = required(message, "the artifact");
  return {
    ...m,
    commandId: m.commandId || null,
    createTime: required(m.createTime, "the artifact's create_time"),
  };
}

export function toLogEvent(event: NonNullable<command.CommandEvent["event"]>): LogEvent | null {
  switch (event.$case) {
    case "output":
      return {
        type: "output",
        offset: event.value.offset,
        stream: event.value.stream === command.LogStream.STDERR ? "stderr" : "stdout",
        time: required(event.value.time, "the output's time"),
        data: event.value.data,
      };
    case "gap":
      return { type: "gap", ...event.value };
    case "exited":
      return {
        type: "exited",
        command: toCommand(event.value.command),
        artifacts: event.value.artifacts.map(toArtifact),
        collectFailures: event.value.collectFailures,
      };
    default:
      return null;
  }
}

export function toPreview(message: PreviewMessage | undefined): Preview {
  const m = required(message, "the preview");
  return { ...m, createTime: required(m.createTime, "the preview's create_time") };
}

export function toTemplate(message: TemplateMessage | undefined): Template {
  const m = required(message, "the template");
  return { ...m, createTime: required(m.createTime, "the template's create_time") };
}

export function toFileEntry(m: file.FileEntry): FileEntry {
  return {
    name: m.name,
    rawName: m.rawName.length > 0 ? m.rawName : null,
    type: enumName<"REGULAR">(m.type, "FILE_TYPE_") ?? "UNRECOGNIZED",
    sizeBytes: m.sizeBytes,
    mode: m.mode,
    modifyTime: required(m.modifyTime, "the entry's modify_time"),
  };
}

export function toIdentity(m: WhoAmIResponse): Identity {
  const { operator, key, projectId } = m;
  if (!key) return { operator, key: null, projectId };
  return {
    operator,
    projectId,
    key: {
      ...key,
      createTime: required(key.createTime, "the key's create_time"),
      expireTime: key.expireTime ?? null,
      revokeTime: key.revokeTime ?? null,
      lastUseTime: key.lastUseTime ?? null,
    },
  };
}
