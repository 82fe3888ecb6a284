// A command's output reaches the caller whole and once, over as many connections as it takes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { status } from "@grpc/grpc-js";
import { CrowNestError, InternalError, NotFoundError } from "@crownest/sdk";
import { LogStream } from "#lib/gen/crownest/v1/command.js";
import {
  exited,
  output,
  rpcError,
  sandboxMessage,
  send,
  startFake,
  started,
  unavailable,
  type LogsCall,
  type RunCall,
} from "./fake.js";

const TEXT = Buffer.from("one two\nthree ünïcödé\nfour\n\u{1F980} five\n");
const sandbox = { get: (_: unknown, answer: any) => answer(null, { sandbox: sandboxMessage() }) };

/** The log's frames from an offset, as large as `frame`, stdout and stderr in turns. */
function frames(from: number, to: number, frame = 7) {
  const events = [];
  for (let at = from; at < to; at += frame) {
    const stream = Math.floor(at / frame) % 2 ? LogStream.STDERR : LogStream.STDOUT;
    events.push(output(at, TEXT.subarray(at, Math.min(at + frame, to)), stream));
  }
  return events;
}

test("a Run cut at every byte boundary is resumed there, nothing lost, nothing twice", async (t) => {
  let cut = 0;
  const offsets: number[] = [];
  const fake = await startFake({
    sandbox,
    command: {
      run: (call: RunCall) => send(call, [started, ...frames(0, cut)], unavailable()),
      streamLogs: (call: LogsCall) => {
        offsets.push(call.request.offset);
        send(call, [...frames(call.request.offset, TEXT.length), exited({ exitCode: 3 })]);
      },
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  for (cut = 0; cut <= TEXT.length; cut++) {
    const got: Buffer[] = [];
    const take = (chunk: Buffer) => void got.push(chunk);
    const result = await commands.run("x", { onStdout: take, onStderr: take });
    assert.deepEqual(Buffer.concat(got), TEXT, `cut at ${cut}`);
    assert.equal(result.stdoutBytes.length + result.stderrBytes.length, TEXT.length);
    assert.equal(result.exitCode, 3);
    assert.equal(offsets.pop(), cut);
  }
});

test("every resumed stream may be cut again, and frames may overlap what came before", async (t) => {
  const fake = await startFake({
    sandbox,
    command: {
      run: (call: RunCall) =>
        send(call, [started], { code: status.INTERNAL, details: "Received RST_STREAM" }),
      streamLogs: (call: LogsCall) => {
        // One new byte at a time, behind up to three old ones, behind a frame that is old as a whole.
        const { offset } = call.request;
        if (offset === TEXT.length) return send(call, [exited()]);
        const from = Math.max(0, offset - 3);
        const old = offset > 1 ? [output(0, TEXT.subarray(0, offset - 1))] : [];
        send(call, [...old, output(from, TEXT.subarray(from, offset + 1))], unavailable());
      },
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const result = await commands.run("x");
  assert.deepEqual(result.stdoutBytes, TEXT);
  assert.equal(result.stdout, TEXT.toString());
});

test("a stream that ends well before `exited` is resumed", async (t) => {
  const fake = await startFake({
    sandbox,
    command: {
      run: (call: RunCall) => send(call, [started, ...frames(0, 5)]),
      streamLogs: (call: LogsCall) => send(call, [...frames(call.request.offset, 9), exited()]),
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const got: Buffer[] = [];
  const take = (chunk: Buffer) => void got.push(chunk);
  await commands.run("x", { onStdout: take, onStderr: take });
  assert.deepEqual(Buffer.concat(got), TEXT.subarray(0, 9));
});

test("before `started`, the same request id is sent again", async (t) => {
  const ids: string[] = [];
  const fake = await startFake({
    sandbox,
    command: {
      run: (call: RunCall) => {
        ids.push(call.request.requestId);
        if (ids.length < 3) send(call, [], unavailable());
        else send(call, [started, ...frames(0, TEXT.length), exited()]);
      },
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  await commands.run(["echo", "x"]);
  assert.equal(ids.length, 3);
  assert.match(ids[0] ?? "", /^[A-Za-z0-9_-]{1,64}$/);
  assert.equal(new Set(ids).size, 1);
});

test("a connection that is torn down mid stream is resumed on a new one", async (t) => {
  const handlers = {
    sandbox,
    command: {
      run: (call: RunCall) => {
        send(call, [started, ...frames(0, 10)], "open");
        received.then(() => fake.server.forceShutdown());
      },
      streamLogs: (call: LogsCall) =>
        send(call, [...frames(call.request.offset, TEXT.length), exited()]),
    },
  };
  let onReceived = () => {};
  const received = new Promise<void>((resolve) => (onReceived = resolve));
  const fake = await startFake(handlers);
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const got: Buffer[] = [];
  const take = async (chunk: Buffer) => {
    got.push(chunk);
    if (Buffer.concat(got).length !== 10) return;
    onReceived();
  };
  const running = commands.run("x", { onStdout: take, onStderr: take });
  await received;
  const second = await startFake(handlers, {}, fake.url.replace("http://", ""));
  t.after(() => second.stop());
  await running;
  assert.deepEqual(Buffer.concat(got), TEXT);
});

test("gaps are told, joined, and do not stop the log", async (t) => {
  const gap = (fromOffset: number, toOffset: number) => ({
    event: { $case: "gap" as const, value: { fromOffset, toOffset, reason: "LOG_LIMIT" } },
  });
  const fake = await startFake({
    sandbox,
    command: {
      run: (call: RunCall) =>
        send(call, [started, output(0, Buffer.from("ab")), gap(2, 5)], unavailable()),
      streamLogs: (call: LogsCall) =>
        send(call, [gap(4, 9), output(9, Buffer.from("z")), exited()]),
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const result = await commands.run("x");
  assert.equal(result.stdout, "abz");
  assert.deepEqual(result.gaps, [{ fromOffset: 2, toOffset: 9, reason: "LOG_LIMIT" }]);
});

test("a hole that no gap explains is an error, not silence", async (t) => {
  const fake = await startFake({
    sandbox,
    command: {
      run: (call: RunCall) => send(call, [started, output(1, Buffer.from("b")), exited()]),
      streamLogs: (call: LogsCall) => send(call, [output(1, Buffer.from("b")), exited()]),
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  await assert.rejects(commands.run("x"), (error: CrowNestError) => {
    assert.ok(error instanceof InternalError);
    assert.equal(error.reason, "LOG_HOLE");
    assert.equal(error.commandId, "cmd_1");
    return true;
  });
});

test("a service that stays away ends run with where to go on, and wait goes on there", async (t) => {
  let away = true;
  const fake = await startFake(
    {
      sandbox,
      command: {
        run: (call: RunCall) => send(call, [started, ...frames(0, 10)], unavailable()),
        streamLogs: (call: LogsCall) =>
          away
            ? send(call, [], unavailable())
            : send(call, [...frames(call.request.offset, TEXT.length), exited()]),
      },
    },
    { retryWindowMs: 400 },
  );
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const error: CrowNestError = await commands.run("x").then(
    () => assert.fail("it should fail"),
    (error) => error,
  );
  assert.equal(error.code, "UNAVAILABLE");
  assert.equal(error.commandId, "cmd_1");
  assert.equal(error.logOffset, 10);
  away = false;
  const rest: Buffer[] = [];
  const take = (chunk: Buffer) => void rest.push(chunk);
  await commands.wait(error.commandId ?? "", {
    offset: error.logOffset,
    onStdout: take,
    onStderr: take,
  });
  assert.deepEqual(Buffer.concat(rest), TEXT.subarray(10));
});

test("what the service explains is not retried", async (t) => {
  let runs = 0;
  const fake = await startFake({
    sandbox,
    command: {
      run: (call: RunCall) => {
        runs++;
        send(call, [], rpcError(status.NOT_FOUND, "gone", { reason: "SANDBOX_NOT_FOUND" }));
      },
      streamLogs: (call: LogsCall) =>
        send(call, [], rpcError(status.INTERNAL, "broken", { reason: "LOG_DAMAGED" })),
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  await assert.rejects(commands.run("x"), NotFoundError);
  assert.equal(runs, 1);
  await assert.rejects(commands.wait("cmd_1"), { reason: "LOG_DAMAGED" });
});

test("logs without follow end at the present end, with follow at `exited`", async (t) => {
  const fake = await startFake({
    sandbox,
    command: {
      streamLogs: (call: LogsCall) => {
        const { offset, follow } = call.request;
        if (!follow) return send(call, frames(offset, 20));
        send(call, [...frames(offset, TEXT.length), exited()]);
      },
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const read = async (options: { offset?: number; follow?: boolean }) => {
    const types = [];
    const data = [];
    for await (const event of commands.logs("cmd_1", options)) {
      types.push(event.type);
      if (event.type === "output") data.push(event.data);
    }
    return { last: types.at(-1), data: Buffer.concat(data) };
  };
  assert.deepEqual(await read({ offset: 3 }), { last: "output", data: TEXT.subarray(3, 20) });
  assert.deepEqual(await read({ follow: true }), { last: "exited", data: TEXT });
});

test("the result keeps the last bytes of a long output and says how many it left out", async (t) => {
  const fake = await startFake({
    sandbox,
    command: {
      run: (call: RunCall) => {
        const events = [];
        for (let at = 0; at < 5000; at += 10)
          events.push(output(at, Buffer.from(String(at).padStart(10))));
        send(call, [started, ...events, exited()]);
      },
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const result = await commands.run("x", { maxOutputBytes: 15 });
  assert.equal(result.stdout, " 4980" + "4990".padStart(10));
  assert.equal(result.stdoutOmittedBytes, 4985);
  assert.equal((await commands.run("x", { maxOutputBytes: 0 })).stdout, "");
});
