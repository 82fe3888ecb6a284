// @crownest/sdk: CrowNest sandboxes from TypeScript.
export { CrowNest, type CrowNestOptions } from "./client.js";
export type { CreateSandboxOptions, ListSandboxesOptions, Sandboxes } from "./sandboxes.js";
export { Sandbox, type SandboxChange } from "./sandbox.js";
export type { KeepAlive, KeepAliveOptions } from "./keep_alive.js";
export type { CommandResult, OutputOptions } from "./collector.js";
export type { Commands, CommandsById, RunOptions, StartOptions } from "./commands.js";
export { CommandHandle, type LogsOptions, type TerminalSize, type WaitOptions } from "./command.js";
export type { AuditEvent, Events, WatchOptions } from "./events.js";
export type { LogRange } from "./follow.js";
export type { StdinData } from "./feeder.js";
export type { WriteStdinOptions } from "./input.js";
export type { SignalName } from "./signals.js";
export type { Directory, FileData, Files, ReadOptions, WriteOptions } from "./files.js";
export { PREVIEW_TOKEN_HEADER, type CreatePreviewOptions, type Previews } from "./previews.js";
export type { Artifacts, CollectItem, DownloadOptions } from "./artifacts.js";
export type { Templates } from "./templates.js";
export type { List, ListOptions, Page } from "./list.js";
export type { RequestOptions } from "./transport.js";
export type {
  Artifact,
  CollectFailure,
  Command,
  CommandUsage,
  CreatedPreview,
  EndCause,
  ExitCause,
  FileEntry,
  FileType,
  Identity,
  Key,
  LogEvent,
  LogGap,
  Preview,
  Resources,
  SandboxInfo,
  SandboxState,
  SandboxStats,
  Template,
} from "./types.js";
export {
  AlreadyExistsError,
  AuthenticationError,
  CancelledError,
  CrowNestError,
  DeadlineError,
  InternalError,
  InvalidArgumentError,
  NotFoundError,
  PermissionError,
  PreconditionError,
  QuotaError,
  UnavailableError,
  type ErrorCode,
} from "./errors.js";
