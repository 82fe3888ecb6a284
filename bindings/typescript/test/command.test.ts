// What is done to a command that runs, from the process that started it and from others.
import assert from "node:assert/strict";
import { test } from "node:test";
import { status } from "@grpc/grpc-js";
import { CommandHandle, InvalidArgumentError } from "@crownest/sdk";
import { LogStream } from "#lib/gen/crownest/v1/command.js";
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
  type LogsCall,
} from "./fake.js";

const sandbox = { get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }) };
const command = { get: (_: unknown, reply: any) => reply(null, { command: commandMessage() }) };

test("start asks for a terminal of a size and an open input", async (t) => {
  const specs: any[] = [];
  const fake = await startFake({
    sandbox,
    command: {
      start: (call: any, reply: any) => {
        specs.push(call.request.command);
        reply(null, { command: commandMessage({ terminal: true, keepStdin: true }) });
      },
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const handle = await commands.start("sh", {
    terminal: { rows: 50, columns: 132 },
    stdin: true,
  });
  await commands.start("sh", { terminal: {} });
  await commands.start("sh");
  assert.ok(handle instanceof CommandHandle);
  assert.deepEqual([handle.info.terminal, handle.info.stdin], [true, true]);
  assert.deepEqual(
    specs.map(({ terminal, keepStdin }) => [terminal, keepStdin]),
    [
      [{ rows: 50, columns: 132 }, true],
      [{ rows: 0, columns: 0 }, false],
      [undefined, false],
    ],
  );
});

test("resize, and signals by name and number, each once", async (t) => {
  const calls: any[] = [];
  let lost = 2;
  const fake = await startFake({
    command: {
      ...command,
      resize: (call: any, reply: any) => {
        calls.push(call.request.terminal);
        reply(null, { command: commandMessage() });
      },
      signal: (call: any, reply: any) => {
        calls.push([call.request.signal, call.request.requestId]);
        if (lost-- > 0) reply(unavailable());
        else reply(null, { command: commandMessage() });
      },
    },
  });
  t.after(() => fake.stop());
  const handle = await fake.client.commands.get("cmd_1");
  await handle.resize({ rows: 30 });
  await handle.signal("SIGINT");
  await handle.signal(34, { requestId: "mine" });
  assert.deepEqual(calls.shift(), { rows: 30, columns: 0 });
  assert.deepEqual(
    calls.map(([number]) => number),
    [2, 2, 2, 34],
  );
  assert.equal(new Set(calls.slice(0, 3).map(([, id]) => id)).size, 1);
  assert.equal(calls[3][1], "mine");
  await assert.rejects(handle.signal("SIGNOT" as never), (error: InvalidArgumentError) => {
    assert.ok(error instanceof InvalidArgumentError);
    assert.equal(error.field, "signal");
    return true;
  });
});

test("a handle waits by the log, and knows how the command ended", async (t) => {
  const requests: any[] = [];
  const fake = await startFake({
    command: {
      ...command,
      streamLogs: (call: LogsCall) => {
        requests.push(call.request);
        send(call, [output(5, Buffer.from("end")), exited({ exitCode: 3 })]);
      },
    },
  });
  t.after(() => fake.stop());
  const handle = await fake.client.commands.get("cmd_1");
  assert.equal(handle.info.exitCode, null);
  const result = await handle.wait({ offset: 5 });
  assert.deepEqual([result.stdout, result.exitCode], ["end", 3]);
  assert.equal(handle.info.exitCode, 3);
  assert.deepEqual([requests[0].offset, requests[0].follow], [5, true]);
});

/** Reads a log and gives what came, and what was asked for. */
async function readLog(
  frames: (call: LogsCall, count: number) => void,
  options: Parameters<CommandHandle["logs"]>[0],
  t: { after(f: () => unknown): void },
) {
  const requests: any[] = [];
  const fake = await startFake({
    command: {
      ...command,
      streamLogs: (call: LogsCall) => {
        requests.push(call.request);
        frames(call, requests.length);
      },
    },
  });
  t.after(() => fake.stop());
  let text = "";
  for await (const event of (await fake.client.commands.get("cmd_1")).logs(options)) {
    if (event.type === "output") text += event.data.toString();
  }
  return { text, requests };
}

test("one stream alone is resumed behind what came, though the other one left holes", async (t) => {
  const { text, requests } = await readLog(
    (call, count) => {
      if (count === 1) send(call, [started, output(10, Buffer.from("ab"))], unavailable());
      else send(call, [output(11, Buffer.from("bc")), output(40, Buffer.from("d")), exited()]);
    },
    { stream: "stdout", follow: true },
    t,
  );
  assert.equal(text, "abcd");
  assert.deepEqual(
    requests.map(({ offset, stream }) => [offset, stream]),
    [
      [0, LogStream.STDOUT],
      [12, LogStream.STDOUT],
    ],
  );
});

test("a tail begins where the service says, and is resumed by offset", async (t) => {
  const { text, requests } = await readLog(
    (call, count) => {
      if (count === 1) send(call, [], unavailable());
      else if (count === 2) send(call, [output(70, Buffer.from("xyz"))], unavailable());
      else send(call, [output(73, Buffer.from("!")), exited()]);
    },
    { tailLines: 5, tailBytes: 100, follow: true, offset: 3 },
    t,
  );
  assert.equal(text, "xyz!");
  assert.deepEqual(
    requests.map(({ offset, tailBytes, tailLines }) => [offset, tailBytes, tailLines]),
    [
      [0, 100, 5],
      [0, 100, 5],
      [73, 0, 0],
    ],
  );
});

test("a hole in a tail of both streams is an error", async (t) => {
  const frames = (call: LogsCall) =>
    send(call, [output(70, Buffer.from("x")), output(72, Buffer.from("z")), exited()]);
  await assert.rejects(readLog(frames, { tailBytes: 10 }, t), { reason: "LOG_HOLE" });
});

test("the list of a sandbox's commands gives handles", async (t) => {
  const fake = await startFake({
    sandbox,
    command: {
      list: (_: unknown, reply: any) =>
        reply(null, { commands: [commandMessage({ commandId: "cmd_9" })], nextPageToken: "" }),
      cancel: (call: any, reply: any) => {
        assert.equal(call.request.commandId, "cmd_9");
        reply(rpcError(status.NOT_FOUND, "gone", { reason: "COMMAND_NOT_FOUND" }));
      },
    },
  });
  t.after(() => fake.stop());
  const [first] = await (await fake.client.sandboxes.get("sbx_1")).commands.list();
  assert.ok(first instanceof CommandHandle);
  await assert.rejects(first.cancel(), { reason: "COMMAND_NOT_FOUND" });
});
