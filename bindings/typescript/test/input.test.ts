// A command's input is taken whole and once, whatever happens to the requests that carry it.
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { status } from "@grpc/grpc-js";
import { CancelledError, InvalidArgumentError, PreconditionError } from "@crownest/sdk";
import type { WriteStdinRequest, WriteStdinResponse } from "#lib/gen/crownest/v1/command.js";
import type { CrowNestOptions, StdinData } from "@crownest/sdk";
import {
  commandMessage,
  exited,
  output,
  rpcError,
  sandboxMessage,
  send,
  startFake,
  started,
  unavailable,
  type RunCall,
} from "./fake.js";

type Reply = (error: object | null, response?: WriteStdinResponse) => void;

/** The input of a command as the service keeps it: by offset, with as much room as a test gives. */
class Input {
  taken = Buffer.alloc(0);
  closed = false;
  room = Infinity;
  requests: WriteStdinRequest[] = [];
  /** What becomes of a request instead, or after it was carried out. */
  before: (request: WriteStdinRequest) => object | null = () => null;
  after: (request: WriteStdinRequest) => object | null = () => null;

  handler = (call: { request: WriteStdinRequest }, reply: Reply): void => {
    const { request } = call;
    this.requests.push(request);
    const refused = this.before(request) ?? this.#apply(request) ?? this.after(request);
    if (refused) reply(refused);
    else reply(null, { offset: this.taken.length, closed: this.closed });
  };

  #apply({ offset, data, close }: WriteStdinRequest): object | null {
    const failed = (code: status, reason: string) => rpcError(code, "no", { reason });
    if (this.closed && data.length > 0) return failed(status.FAILED_PRECONDITION, "INPUT_CLOSED");
    if (offset > this.taken.length) return failed(status.OUT_OF_RANGE, "INPUT_OFFSET_GAP");
    const fresh = data.subarray(this.taken.length - offset);
    const fits = fresh.subarray(0, Math.max(0, this.room - this.taken.length));
    this.taken = Buffer.concat([this.taken, fits]);
    this.closed ||= close && fits.length === fresh.length;
    return null;
  }
}

async function inputs(t: TestContext, options: CrowNestOptions = {}) {
  const input = new Input();
  let onFull = () => {};
  const ended = new Promise<void>((resolve) => (onFull = resolve));
  const fake = await startFake(
    {
      sandbox: { get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }) },
      command: {
        start: (_: unknown, reply: any) => reply(null, { command: commandMessage() }),
        get: (_: unknown, reply: any) => reply(null, { command: commandMessage() }),
        writeStdin: (call: any, reply: any) => {
          input.handler(call, reply);
          if (input.closed) onFull();
        },
        // `cat`: says what it was given once that is complete.
        run: (call: RunCall) => {
          assert.equal(call.request.command?.keepStdin, true);
          send(call, [started], "open");
          void ended.then(() => {
            const said = input.taken.length ? [output(0, input.taken)] : [];
            send(call, [...said, exited()]);
          });
        },
        cancel: (_: unknown, reply: any) => {
          onFull();
          reply(null, { command: commandMessage() });
        },
      },
    },
    options,
  );
  t.after(() => fake.stop());
  const sandbox = await fake.client.sandboxes.get("sbx_1");
  return { input, fake, sandbox };
}

test("writes go one behind the other, in pieces of at most 1 MiB, and end with a close", async (t) => {
  const { input, sandbox } = await inputs(t);
  const command = await sandbox.commands.start("cat", { stdin: true });
  const data = Buffer.alloc(2_500_000, "0123456789abcde\n");
  await Promise.all([
    command.writeStdin("ünï"),
    command.writeStdin(data),
    command.writeStdin(new Uint8Array([0, 255])),
    command.closeStdin(),
  ]);
  const whole = Buffer.concat([Buffer.from("ünï"), data, Buffer.from([0, 255])]);
  assert.deepEqual(input.taken, whole);
  assert.equal(input.closed, true);
  assert.ok(Math.max(...input.requests.map(({ data }) => data.length)) <= 1024 * 1024);
  assert.equal(input.requests.filter(({ close }) => close).length, 1);
});

test("a request whose answer was lost is sent again and taken once", async (t) => {
  const { input, sandbox } = await inputs(t);
  const command = await sandbox.commands.start("cat", { stdin: true });
  let losses = 0;
  const cuts = [
    unavailable(),
    { code: status.INTERNAL, details: "Received RST_STREAM" },
    { code: status.CANCELLED, details: "the service stops" },
    { code: status.UNKNOWN, details: "Stream removed" },
  ];
  input.after = () => cuts[losses++] ?? null;
  input.before = () => (losses === 2 ? (losses++, unavailable()) : null);
  await command.writeStdin("one ");
  await command.writeStdin("two");
  assert.equal(input.taken.toString(), "one two");
  assert.ok(input.requests.length > 4);
});

test("a write is given up when the service stays away, and the next one goes on where it was", async (t) => {
  const { input, sandbox } = await inputs(t, { retryWindowMs: 200 });
  const command = await sandbox.commands.start("cat", { stdin: true });
  // It takes half of it and is gone.
  input.room = 3;
  input.after = () => unavailable();
  await assert.rejects(command.writeStdin("abcdef"), { code: "UNAVAILABLE" });
  input.after = () => null;
  input.room = Infinity;
  assert.equal(await command.stdinOffset(), 3);
  await command.writeStdin("xyz");
  assert.equal(input.taken.toString(), "abcxyz");
});

test("a command that does not read holds the write up, for as long as it takes", async (t) => {
  const { input, sandbox } = await inputs(t);
  const command = await sandbox.commands.start("cat", { stdin: true });
  input.room = 2;
  input.after = () => {
    input.room += input.requests.length > 3 ? 100 : 0;
    return null;
  };
  await command.writeStdin("abcdef");
  assert.equal(input.taken.toString(), "abcdef");
});

test("an abort ends a write that is held up and one whose turn has not come", async (t) => {
  const { input, sandbox } = await inputs(t);
  const command = await sandbox.commands.start("cat", { stdin: true });
  input.room = 2;
  const abort = new AbortController();
  const held = command.writeStdin("abcdef", { signal: abort.signal });
  const waiting = command.writeStdin("ghi", { signal: abort.signal });
  const settled = Promise.allSettled([held, waiting]);
  abort.abort(new Error("enough"));
  for (const result of await settled) {
    assert.equal(result.status, "rejected");
    assert.ok(result.status === "rejected" && result.reason instanceof CancelledError);
    assert.equal(result.reason.cause, abort.signal.reason);
  }
  input.room = Infinity;
  await command.writeStdin("|");
  assert.equal(input.taken.toString(), `${"abcdef".slice(0, input.taken.length - 1)}|`);
});

test("from another process a command's input goes on where it is, or is repeated by offset", async (t) => {
  const { input, fake, sandbox } = await inputs(t);
  await (await sandbox.commands.start("cat", { stdin: true })).writeStdin("hello ");
  const other = await fake.client.commands.get("cmd_1");
  await other.writeStdin("world");
  await other.writeStdin("!");
  assert.equal(input.taken.toString(), "hello world!");
  const third = await fake.client.commands.get("cmd_1");
  await third.writeStdin("hello world!?", { offset: 0 });
  await third.writeStdin("?");
  assert.equal(input.taken.toString(), "hello world!??");
  await assert.rejects(third.writeStdin("x", { offset: 100 }), (error: InvalidArgumentError) => {
    assert.ok(error instanceof InvalidArgumentError);
    assert.equal(error.reason, "INPUT_OFFSET_GAP");
    return true;
  });
});

test("closing what is closed changes nothing, writing to it is refused", async (t) => {
  const { input, sandbox } = await inputs(t);
  const command = await sandbox.commands.start("cat", { stdin: true });
  await command.closeStdin();
  await command.closeStdin();
  await assert.rejects(command.writeStdin("x"), (error: PreconditionError) => {
    assert.ok(error instanceof PreconditionError);
    assert.equal(error.reason, "INPUT_CLOSED");
    return true;
  });
  assert.equal(input.taken.length, 0);
});

for (const [what, stdin] of [
  ["text", "ünï\n"],
  ["bytes", Buffer.from("ünï\n")],
  ["nothing", ""],
  [
    "a stream",
    (async function* () {
      yield "ü";
      yield Buffer.from("nï\n");
    })(),
  ],
] as [string, StdinData][]) {
  test(`run gives a command its whole input: ${what}`, async (t) => {
    const { input, sandbox } = await inputs(t);
    let lost = 0;
    input.after = () => (lost++ === 0 ? unavailable() : null);
    const { stdout } = await sandbox.commands.run("cat", { stdin });
    assert.equal(stdout, what === "nothing" ? "" : "ünï\n");
    assert.equal(input.closed, true);
  });
}

test("run with an open input hands out the command to write to", async (t) => {
  const { sandbox } = await inputs(t);
  const { stdout } = await sandbox.commands.run("cat", {
    stdin: true,
    onStarted: async (command) => {
      await command.writeStdin("by hand");
      await command.closeStdin();
    },
  });
  assert.equal(stdout, "by hand");
});

test("a command that ends before it has read its input ends well", async (t) => {
  const refuse = (reason: string) => rpcError(status.FAILED_PRECONDITION, "no", { reason });
  for (const reason of ["COMMAND_NOT_RUNNING", "INPUT_CLOSED"]) {
    const { input, sandbox } = await inputs(t);
    input.before = () => {
      input.closed = true;
      return refuse(reason);
    };
    assert.equal((await sandbox.commands.run("true", { stdin: "x" })).exitCode, 0);
  }
});

test("input waits while the sandbox is paused", async (t) => {
  const { input, sandbox } = await inputs(t);
  let paused = 2;
  input.before = () =>
    paused-- > 0
      ? rpcError(status.FAILED_PRECONDITION, "paused", { reason: "SANDBOX_PAUSED" })
      : null;
  assert.equal((await sandbox.commands.run("cat", { stdin: "x" })).stdout, "x");
});

test("a source that fails, and an onStarted that throws, cancel the command and are passed on", async (t) => {
  const mine = new Error("mine");
  const source = (async function* () {
    yield "half";
    throw mine;
  })();
  const first = await inputs(t);
  await assert.rejects(first.sandbox.commands.run("cat", { stdin: source }), mine);
  const second = await inputs(t);
  const onStarted = () => {
    throw mine;
  };
  await assert.rejects(second.sandbox.commands.run("cat", { stdin: true, onStarted }), mine);
});
