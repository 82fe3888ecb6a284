// The SDK against a real service, when CROWNEST_URL and CROWNEST_API_KEY name one.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { connect as dial, createServer, type AddressInfo, type Socket } from "node:net";
import { test } from "node:test";
import {
  CancelledError,
  CrowNest,
  InvalidArgumentError,
  NotFoundError,
  PreconditionError,
  type CrowNestError,
} from "@crownest/sdk";
import { connect, needsService as options } from "./service.js";

test(
  "create, write, run with streaming, collect, kill, and read all of it again",
  options,
  async (t) => {
    const client = connect(t);
    await using sandbox = await client.sandboxes.create({
      template: "base",
      labels: { test: "sdk" },
    });
    assert.equal(sandbox.info.state, "RUNNING");
    await sandbox.files.write("in.txt", "ünï\n");
    assert.equal(await sandbox.files.read("/workspace/in.txt"), "ünï\n");
    await sandbox.files.makeDir("a/b", { makeParents: true });
    await sandbox.files.move("in.txt", "a/b/in.txt");
    assert.equal((await sandbox.files.stat("a/b/in.txt")).type, "REGULAR");
    await sandbox.files.move("a/b/in.txt", "in.txt");
    await assert.rejects(sandbox.files.remove("a"), { reason: "DIRECTORY_NOT_EMPTY" });
    await sandbox.files.remove("a", { recursive: true });
    assert.ok(
      (await sandbox.files.list()).entries.some(
        (entry) => entry.name === "in.txt" && entry.type === "REGULAR",
      ),
    );

    const chunks: { at: number; data: Buffer }[] = [];
    const result = await sandbox.commands.run(
      "cat in.txt; sleep 0.5; echo $WHO; echo oops >&2; cp in.txt out.txt",
      {
        env: { WHO: "me" },
        collect: [{ path: "out.txt", name: "renamed.txt" }],
        onStdout: (data) => void chunks.push({ at: performance.now(), data }),
      },
    );
    assert.equal(result.exitCause, "EXITED");
    assert.equal(result.exitCode, 0);
    assert.equal(result.stdout, "ünï\nme\n");
    assert.equal(result.stderr, "oops\n");
    assert.deepEqual(result.collectFailures, []);
    assert.ok(
      (chunks.at(-1)?.at ?? 0) - (chunks[0]?.at ?? 0) > 300,
      "output came while the command ran",
    );

    const tombstone = await sandbox.kill();
    assert.equal(tombstone.state, "KILLED");
    assert.equal(tombstone.endCause, "KILLED");

    const log = [];
    for await (const event of sandbox.commands.logs(result.commandId, { follow: true })) {
      if (event.type === "output" && event.stream === "stdout") log.push(event.data);
    }
    assert.deepEqual(Buffer.concat(log), Buffer.concat(chunks.map((chunk) => chunk.data)));
    const [artifact] = await sandbox.artifacts.list();
    assert.equal(artifact?.name, "renamed.txt");
    const content = await sandbox.artifacts.download(artifact?.artifactId ?? "");
    assert.equal(artifact?.digest, `sha256:${createHash("sha256").update(content).digest("hex")}`);
    assert.equal(Buffer.from(content).toString(), "ünï\n");
    const again = await client.sandboxes.get(sandbox.sandboxId);
    assert.equal(again.info.endCause, "KILLED");
    assert.equal(
      (await again.commands.get(result.commandId)).info.logBytes,
      Buffer.byteLength("ünï\nme\noops\n"),
    );
  },
);

test("a log is read from any offset", options, async (t) => {
  const client = connect(t);
  await using sandbox = await client.sandboxes.create({ template: "base" });
  const { commandId, stdoutBytes } = await sandbox.commands.run(
    "i=0; while [ $i -lt 20 ]; do echo line $i; i=$((i+1)); done",
  );
  for (let offset = 0; offset <= stdoutBytes.length; offset += 13) {
    const rest = await sandbox.commands.wait(commandId, { offset });
    assert.deepEqual(rest.stdoutBytes, stdoutBytes.subarray(offset), `from ${offset}`);
  }
  await assert.rejects(sandbox.commands.wait(commandId, { offset: stdoutBytes.length + 1 }), {
    reason: "OFFSET_BEYOND_END",
  });
});

test(
  "a run survives connections that break again and again, whole and once",
  options,
  async (t) => {
    const { hostname, port } = new URL(process.env.CROWNEST_URL ?? "");
    const sockets = new Set<Socket>();
    const proxy = createServer((near) => {
      const far = dial(Number(port), hostname);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(from);
        from.on("error", () => undefined);
        from.on("close", () => (sockets.delete(from), to.destroy()));
        from.pipe(to);
      }
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    t.after(() => proxy.close());
    const address = proxy.address() as AddressInfo;
    const client = new CrowNest({ url: `http://127.0.0.1:${address.port}` });
    t.after(() => client.close());
    await using sandbox = await client.sandboxes.create({ template: "base" });

    let chunks = 0;
    const got: Buffer[] = [];
    const result = await sandbox.commands.run(
      "i=0; while [ $i -lt 40 ]; do echo line $i; i=$((i+1)); sleep 0.02; done; exit 5",
      {
        onStdout: (chunk) => {
          got.push(chunk);
          if (++chunks % 8 === 0) for (const socket of sockets) socket.resetAndDestroy();
        },
      },
    );
    const expected = Array.from({ length: 40 }, (_, i) => `line ${i}\n`).join("");
    assert.equal(Buffer.concat(got).toString(), expected);
    assert.equal(result.stdout, expected);
    assert.equal(result.exitCode, 5);
    assert.ok(chunks >= 8, "connections were broken");
  },
);

test("an upload that is given up leaves no half file", options, async (t) => {
  const client = connect(t);
  await using sandbox = await client.sandboxes.create({ template: "base" });
  const source = (async function* () {
    yield Buffer.from("half");
    throw new Error("mine");
  })();
  await assert.rejects(sandbox.files.write("half.txt", source), /mine/);
  assert.deepEqual((await sandbox.files.list()).entries, []);
});

test("exit codes, signals and timeouts are data", options, async (t) => {
  const client = connect(t);
  await using sandbox = await client.sandboxes.create({ template: "base" });
  assert.equal((await sandbox.commands.run("exit 3")).exitCode, 3);
  const signalled = await sandbox.commands.run("kill -9 $$");
  assert.deepEqual(
    [signalled.exitCause, signalled.signal, signalled.exitCode],
    ["SIGNALED", 9, null],
  );
  assert.equal(
    (await sandbox.commands.run(["sleep", "60"], { timeout: 0.5 })).exitCause,
    "TIMEOUT",
  );
});

test("aborting a run cancels the command", options, async (t) => {
  const client = connect(t);
  await using sandbox = await client.sandboxes.create({ template: "base" });
  const abort = new AbortController();
  const running = sandbox.commands.run("echo go; sleep 1000", {
    signal: abort.signal,
    onStdout: () => abort.abort(),
  });
  const error: CrowNestError = await running.then(
    () => assert.fail("it should fail"),
    (error) => error,
  );
  assert.ok(error instanceof CancelledError);
  assert.equal((await sandbox.commands.get(error.commandId ?? "")).info.exitCause, "CANCELLED");
});

test("the same request id creates one sandbox and runs one command", options, async (t) => {
  const client = connect(t);
  const requestId = `sdk-${process.pid}-${Date.now()}`;
  await using first = await client.sandboxes.create({ requestId });
  const second = await client.sandboxes.create({ requestId });
  assert.equal(second.sandboxId, first.sandboxId);
  const runs = await Promise.all(
    [1, 2].map(() =>
      first.commands.run("echo once >> ran; cat ran", { requestId: `${requestId}-run` }),
    ),
  );
  assert.equal(runs[0]?.commandId, runs[1]?.commandId);
  assert.equal(runs[1]?.stdout, "once\n");
});

test("errors carry reason and field", options, async (t) => {
  const client = connect(t);
  await assert.rejects(client.sandboxes.create({ template: "no-such" }), (error) => {
    assert.ok(error instanceof NotFoundError);
    assert.equal(error.reason, "TEMPLATE_NOT_FOUND");
    return true;
  });
  await assert.rejects(client.sandboxes.get("sbx_0"), NotFoundError);
  await assert.rejects(client.sandboxes.create({ ttl: -1 }), (error) => {
    assert.ok(error instanceof InvalidArgumentError);
    assert.equal(error.field, "ttl");
    return true;
  });
  const sandbox = await client.sandboxes.create();
  await sandbox.kill();
  await assert.rejects(sandbox.commands.run("true"), PreconditionError);
});

test("events tell of a sandbox's life, from any of them on", options, async (t) => {
  const client = connect(t);
  const sandbox = await client.sandboxes.create({ template: "base" });
  await sandbox.commands.run("true");
  await sandbox.kill();
  const read = async (after: number) => {
    const events = [];
    for await (const event of client.events.watch({ after, resourceId: sandbox.sandboxId })) {
      events.push(event);
      if (event.action === "sandbox.end" && event.outcome === "ok") break;
    }
    return events;
  };
  const all = await read(0);
  const actions = all.map((event) => event.action);
  assert.deepEqual(
    actions.filter((action) => !action.startsWith("sandbox.create")),
    ["command.start", "command.end", "sandbox.kill", "sandbox.end"],
  );
  assert.equal(all.at(-1)?.reason, "KILLED");
  assert.match(all.at(-1)?.actor ?? "", /^key_/);
  const start = all.find((event) => event.action === "command.start");
  assert.ok(start);
  assert.deepEqual(
    await read(start.sequence),
    all.filter((event) => event.sequence > start.sequence),
  );
  const stop = new AbortController();
  const live = client.events.watch({ signal: stop.signal });
  const next = live.next();
  stop.abort();
  await assert.rejects(next, CancelledError);
});
