// An in-process CrowNest made of the generated service definitions: it knows the contract's shapes
// and does what a test tells it to.
import * as grpc from "@grpc/grpc-js";
import { CrowNest, type CrowNestOptions } from "@crownest/sdk";
import { ArtifactServiceService, type Artifact } from "#lib/gen/crownest/v1/artifact.js";
import {
  CommandServiceService,
  ExitCause,
  LogStream,
  type Command,
  type CommandEvent,
  type RunCommandRequest,
  type RunCommandResponse,
  type StreamLogsRequest,
  type StreamLogsResponse,
} from "#lib/gen/crownest/v1/command.js";
import { FileServiceService } from "#lib/gen/crownest/v1/file.js";
import { KeyServiceService } from "#lib/gen/crownest/v1/key.js";
import { PreviewServiceService } from "#lib/gen/crownest/v1/preview.js";
import {
  EndCause,
  SandboxServiceService,
  SandboxState,
  type Sandbox,
} from "#lib/gen/crownest/v1/sandbox.js";
import { TemplateServiceService } from "#lib/gen/crownest/v1/template.js";
import {
  BadRequest,
  ErrorInfo,
  RequestInfo,
  RetryInfo,
  Status,
} from "#lib/gen/private/google_rpc.js";

type Handler = (call: any, callback?: any) => void;
const SERVICES = {
  sandbox: SandboxServiceService,
  command: CommandServiceService,
  file: FileServiceService,
  preview: PreviewServiceService,
  artifact: ArtifactServiceService,
  template: TemplateServiceService,
  key: KeyServiceService,
} as const;
type Handlers = { [service in keyof typeof SERVICES]?: Record<string, Handler> };

export interface Fake {
  url: string;
  server: grpc.Server;
  client: CrowNest;
  stop(): Promise<void>;
}

/** Starts a fake; methods without a handler answer UNIMPLEMENTED. */
export async function startFake(
  handlers: Handlers,
  options: CrowNestOptions = {},
  address = "127.0.0.1:0",
): Promise<Fake> {
  const server = new grpc.Server();
  for (const [name, definition] of Object.entries(SERVICES)) {
    server.addService(
      definition,
      (handlers[name as keyof Handlers] ?? {}) as grpc.UntypedServiceImplementation,
    );
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const url = address.startsWith("unix:") ? address : `http://127.0.0.1:${port}`;
  const client = new CrowNest({ url, apiKey: "cnk_test", ...options });
  return {
    url,
    server,
    client,
    async stop() {
      client.close();
      server.forceShutdown();
    },
  };
}

const NOW = new Date("2026-01-02T03:04:05.678Z");

export function sandboxMessage(change: Partial<Sandbox> = {}): Sandbox {
  return {
    sandboxId: "sbx_1",
    projectId: "prj_1",
    state: SandboxState.RUNNING,
    template: "python",
    templateDigest: "sha256:00",
    resources: {
      memoryBytes: 1,
      cpuMillis: 2,
      maxProcesses: 3,
      diskBytes: 4,
      diskInodes: 5,
      ioBytesPerSec: 6,
      maxOpenFiles: 7,
      maxPtys: 8,
    },
    createTime: NOW,
    startTime: NOW,
    expireTime: NOW,
    endTime: undefined,
    endCause: EndCause.UNSPECIFIED,
    endDetail: "",
    labels: {},
    cpuUsec: 0,
    memoryPeakBytes: 0,
    lease: undefined,
    parentSandboxId: "",
    createdBy: "key_test",
    endedBy: "",
    ...change,
  };
}

export function commandMessage(change: Partial<Command> = {}): Command {
  return {
    commandId: "cmd_1",
    projectId: "prj_1",
    sandboxId: "sbx_1",
    argv: ["/bin/sh", "-c", "x"],
    cwd: "/workspace",
    user: "user",
    startTime: NOW,
    endTime: undefined,
    exitCause: ExitCause.UNSPECIFIED,
    exitCode: 0,
    signal: 0,
    logBytes: 0,
    usage: undefined,
    terminal: false,
    keepStdin: false,
    logExpired: false,
    ...change,
  };
}

export function artifactMessage(change: Partial<Artifact> = {}): Artifact {
  return {
    artifactId: "art_1",
    projectId: "prj_1",
    sandboxId: "sbx_1",
    commandId: "cmd_1",
    name: "report.html",
    path: "/workspace/report.html",
    sizeBytes: 0,
    digest: "sha256:00",
    createTime: NOW,
    ...change,
  };
}

export const started: CommandEvent = {
  event: { $case: "started", value: { command: commandMessage() } },
};

export function exited(change: Partial<Command> = {}): CommandEvent {
  const command = commandMessage({
    endTime: NOW,
    exitCause: ExitCause.EXITED,
    usage: {
      wall: { seconds: 1, nanos: 500_000_000 },
      cpuUsec: 7,
      maxRssBytes: 8,
      memoryPeakBytes: 9,
    },
    ...change,
  });
  return {
    event: {
      $case: "exited",
      value: { command, artifacts: [artifactMessage()], collectFailures: [] },
    },
  };
}

export function output(
  offset: number,
  data: Buffer,
  stream: LogStream = LogStream.STDOUT,
): CommandEvent {
  return { event: { $case: "output", value: { offset, stream, time: NOW, data } } };
}

export type RunCall = grpc.ServerWritableStream<RunCommandRequest, RunCommandResponse>;
export type LogsCall = grpc.ServerWritableStream<StreamLogsRequest, StreamLogsResponse>;

/** Sends events and then ends well, with an error, or not at all. */
export function send(
  call: RunCall | LogsCall,
  events: CommandEvent[],
  end: "ok" | "open" | object = "ok",
): void {
  for (const event of events) (call as RunCall).write({ event });
  if (end === "ok") call.end();
  else if (end !== "open") call.emit("error", end);
}

/** The error of a connection that broke, as a proxy or a dying server reports it. */
export function unavailable(): Partial<grpc.ServiceError> {
  return { code: grpc.status.UNAVAILABLE, details: "cut" };
}

/** An error as the service sends it, with all its details. */
export function rpcError(
  code: grpc.status,
  message: string,
  info: { reason?: string; domain?: string; metadata?: Record<string, string> } = {},
  more: { retryMs?: number; field?: string; requestId?: string } = {},
): Partial<grpc.ServiceError> {
  const any = (name: string, value: Uint8Array) => ({
    typeUrl: `type.googleapis.com/google.rpc.${name}`,
    value: Buffer.from(value),
  });
  const details = [
    any(
      "ErrorInfo",
      ErrorInfo.encode({ reason: "", domain: "crownest", metadata: {}, ...info }).finish(),
    ),
  ];
  if (more.field) {
    const fieldViolations = [{ field: more.field, description: "no" }];
    details.push(any("BadRequest", BadRequest.encode({ fieldViolations }).finish()));
  }
  if (more.retryMs !== undefined) {
    const retryDelay = {
      seconds: Math.floor(more.retryMs / 1000),
      nanos: (more.retryMs % 1000) * 1e6,
    };
    details.push(any("RetryInfo", RetryInfo.encode({ retryDelay }).finish()));
  }
  if (more.requestId)
    details.push(any("RequestInfo", RequestInfo.encode({ requestId: more.requestId }).finish()));
  const metadata = new grpc.Metadata();
  metadata.set(
    "grpc-status-details-bin",
    Buffer.from(Status.encode({ code, message, details }).finish()),
  );
  return { code, details: message, metadata };
}
