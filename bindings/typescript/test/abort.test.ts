// Aborting a run cancels its command; leaving by error does too.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CancelledError } from "@crownest/sdk";
import { ExitCause } from "#lib/gen/crownest/v1/command.js";
import {
  commandMessage,
  exited,
  output,
  sandboxMessage,
  send,
  startFake,
  started,
  type LogsCall,
  type RunCall,
} from "./fake.js";

const sandbox = { get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }) };

/** A command that says "go" and then runs until it is cancelled. */
async function endless(announce: "at once" | "when asked" = "at once") {
  let running: RunCall | LogsCall | undefined;
  const state = { cancels: [] as string[], announce: () => {} };
  const begin = (call: RunCall | LogsCall) => {
    running = call;
    send(call, [started, output(0, Buffer.from("go"))], "open");
  };
  const fake = await startFake({
    sandbox,
    command: {
      run: (call: RunCall) => {
        if (announce === "at once") return begin(call);
        state.announce = () => begin(call);
        call.sendMetadata(new (call.metadata.constructor as any)());
        onCalled();
      },
      streamLogs: begin,
      cancel: (call: any, reply: any) => {
        state.cancels.push(call.request.commandId);
        if (running) send(running, [exited({ exitCause: ExitCause.CANCELLED })]);
        reply(null, { command: commandMessage() });
      },
    },
  });
  let onCalled = () => {};
  const called = new Promise<void>((resolve) => (onCalled = resolve));
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  return { fake, commands, state, called };
}

function assertAborted(signal: AbortSignal) {
  return (error: CancelledError) => {
    assert.ok(error instanceof CancelledError);
    assert.equal(error.name, "AbortError");
    assert.equal(error.code, "CANCELLED");
    assert.ok(signal.aborted);
    assert.equal(error.cause, signal.reason);
    return true;
  };
}

test("aborting run cancels the command, then rejects with the reason", async (t) => {
  const { fake, commands, state } = await endless();
  t.after(() => fake.stop());
  const abort = new AbortController();
  const running = commands.run("x", {
    signal: abort.signal,
    onStdout: () => abort.abort(new Error("enough")),
  });
  await assert.rejects(
    running,
    (error: CancelledError) => assertAborted(abort.signal)(error) && error.commandId === "cmd_1",
  );
  assert.deepEqual(state.cancels, ["cmd_1"]);
});

for (const [what, answer] of [
  ["ends though its stream stays silent", [null, { command: commandMessage() }]],
  ["ends though the cancel cannot be delivered", [{ code: 14, details: "away" }]],
] as const) {
  test(`an aborted run ${what}`, async (t) => {
    const command = {
      run: (call: RunCall) => send(call, [started, output(0, Buffer.from("go"))], "open"),
      cancel: (_: unknown, reply: any) => reply(...answer),
    };
    const fake = await startFake({ sandbox, command }, { maxRetries: 0 });
    t.after(() => fake.stop());
    const { commands } = await fake.client.sandboxes.get("sbx_1");
    const abort = new AbortController();
    const running = commands.run("x", { signal: abort.signal, onStdout: () => abort.abort() });
    await assert.rejects(
      running,
      (error: CancelledError) => assertAborted(abort.signal)(error) && error.commandId === "cmd_1",
    );
  });
}

test("aborting wait cancels the command too", async (t) => {
  const { fake, commands, state } = await endless();
  t.after(() => fake.stop());
  const abort = new AbortController();
  const running = commands.wait("cmd_7", { signal: abort.signal, onStdout: () => abort.abort() });
  await assert.rejects(running, assertAborted(abort.signal));
  assert.deepEqual(state.cancels, ["cmd_7"]);
});

test("a run aborted before the service said which command it is cancels it all the same", async (t) => {
  const { fake, commands, state, called } = await endless("when asked");
  t.after(() => fake.stop());
  const abort = new AbortController();
  const running = commands.run("x", { signal: abort.signal });
  await called;
  abort.abort();
  state.announce();
  await assert.rejects(running, assertAborted(abort.signal));
  assert.deepEqual(state.cancels, ["cmd_1"]);
});

test("a run whose signal was aborted before is never sent", async (t) => {
  let runs = 0;
  const fake = await startFake({ sandbox, command: { run: () => runs++ } });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  await assert.rejects(commands.run("x", { signal: AbortSignal.abort() }), CancelledError);
  assert.equal(runs, 0);
});

test("a callback that throws cancels the command and passes its error on", async (t) => {
  const { fake, commands, state } = await endless();
  t.after(() => fake.stop());
  const mine = new Error("mine");
  const running = commands.run("x", {
    onStdout: () => {
      throw mine;
    },
  });
  await assert.rejects(running, (error) => error === mine);
  assert.deepEqual(state.cancels, ["cmd_1"]);
});

test("aborting logs ends the reading and leaves the command alone", async (t) => {
  const { fake, commands, state } = await endless();
  t.after(() => fake.stop());
  const abort = new AbortController();
  await assert.rejects(async () => {
    for await (const _ of commands.logs("cmd_1", { follow: true, signal: abort.signal }))
      abort.abort();
  }, assertAborted(abort.signal));
  for await (const _ of commands.logs("cmd_1", { follow: true })) break;
  assert.deepEqual(state.cancels, []);
});

test("a unary call and the wait between its tries can be aborted", async (t) => {
  const abort = new AbortController();
  let calls = 0;
  const fake = await startFake({
    sandbox: {
      get: () => abort.abort(),
      kill: (_: unknown, reply: any) => {
        calls++;
        reply({ code: 14, details: "cut" });
        between.abort();
      },
    },
  });
  const between = new AbortController();
  t.after(() => fake.stop());
  await assert.rejects(
    fake.client.sandboxes.get("sbx_1", { signal: abort.signal }),
    assertAborted(abort.signal),
  );
  await assert.rejects(
    fake.client.sandboxes.kill("sbx_1", { signal: between.signal }),
    CancelledError,
  );
  assert.equal(calls, 1);
});

test("a callback's promise holds the stream back", async (t) => {
  const fake = await startFake({
    sandbox,
    command: {
      run: (call: RunCall) =>
        send(call, [started, output(0, Buffer.from("a")), output(1, Buffer.from("b")), exited()]),
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const order: string[] = [];
  await commands.run("x", {
    onStdout: async (chunk) => {
      order.push(`${chunk} begins`);
      await new Promise((resolve) => setImmediate(resolve));
      order.push(`${chunk} ends`);
    },
  });
  assert.deepEqual(order, ["a begins", "a ends", "b begins", "b ends"]);
});
