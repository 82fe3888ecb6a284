// How long a sandbox lives: pause, resume, changes, leases and what keeps them.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test, type TestContext } from "node:test";
import { status } from "@grpc/grpc-js";
import { PreconditionError } from "@crownest/sdk";
import { SandboxState } from "#lib/gen/crownest/v1/sandbox.js";
import { rpcError, sandboxMessage, startFake, unavailable } from "./fake.js";

const SOON = new Date("2026-01-02T03:05:00.000Z");

test("pause, resume and update give what the sandbox is now", async (t) => {
  const requests: any[] = [];
  const answer = (state: SandboxState) => (call: any, reply: any) => {
    requests.push(call.request);
    reply(null, { sandbox: sandboxMessage({ state, labels: { a: "b" } }) });
  };
  const fake = await startFake({
    sandbox: {
      get: answer(SandboxState.RUNNING),
      pause: answer(SandboxState.PAUSED),
      resume: answer(SandboxState.RUNNING),
      update: answer(SandboxState.RUNNING),
    },
  });
  t.after(() => fake.stop());
  const sandbox = await fake.client.sandboxes.get("sbx_1");
  assert.equal((await sandbox.pause()).state, "PAUSED");
  assert.equal(sandbox.info.state, "PAUSED");
  assert.equal((await sandbox.resume()).state, "RUNNING");
  await sandbox.update({ ttl: 1.5 });
  await sandbox.update({ labels: {} }, { requestId: "mine" });
  const [, , , ttl, labels] = requests;
  assert.match(ttl.requestId, /^[A-Za-z0-9_-]{1,64}$/);
  assert.deepEqual([ttl.ttl, ttl.replaceLabels], [{ seconds: 1, nanos: 500_000_000 }, false]);
  assert.deepEqual([labels.ttl, labels.replaceLabels], [undefined, true]);
  assert.equal(labels.requestId, "mine");
});

test("create takes a lease, a parent and every resource", async (t) => {
  let request: any;
  const fake = await startFake({
    sandbox: {
      create: (call: any, reply: any) => {
        request = call.request;
        const lease = { seconds: 2, nanos: 500_000_000 };
        reply(null, { sandbox: sandboxMessage({ lease, parentSandboxId: "sbx_0" }) });
      },
    },
  });
  t.after(() => fake.stop());
  const sandbox = await fake.client.sandboxes.create({
    lease: 2.5,
    parentSandboxId: "sbx_0",
    resources: { diskInodes: 300, ioBytesPerSec: 1 << 20, maxOpenFiles: 64, maxPtys: 1 },
  });
  assert.deepEqual(request.lease, { seconds: 2, nanos: 500_000_000 });
  assert.equal(request.parentSandboxId, "sbx_0");
  const { diskInodes, ioBytesPerSec, maxOpenFiles, maxPtys } = request.resources;
  assert.deepEqual([diskInodes, ioBytesPerSec, maxOpenFiles, maxPtys], [300, 1 << 20, 64, 1]);
  assert.deepEqual([sandbox.info.leaseSeconds, sandbox.info.parentSandboxId], [2.5, "sbx_0"]);
});

test("stats say what it uses and why it lives", async (t) => {
  const fake = await startFake({
    sandbox: {
      get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }),
      stats: (_: unknown, reply: any) =>
        reply(null, {
          cpuUsec: 1,
          memoryBytes: 2,
          memoryPeakBytes: 0,
          processes: 3,
          commands: 0,
          oomKills: 0,
          keptBy: ["ttl: 9 s left"],
        }),
    },
  });
  t.after(() => fake.stop());
  const stats = await (await fake.client.sandboxes.get("sbx_1")).stats();
  assert.deepEqual([stats.cpuUsec, stats.memoryBytes, stats.processes], [1, 2, 3]);
  assert.deepEqual([stats.leaseExpireTime, stats.keptBy], [null, ["ttl: 9 s left"]]);
});

/** A sandbox with a lease, and its heartbeats as they come. */
async function leased(
  t: TestContext,
  seconds: number,
  answer: (beat: number) => object | null = () => null,
) {
  let beats = 0;
  let onBeat = () => {};
  const fake = await startFake({
    sandbox: {
      get: (_: unknown, reply: any) =>
        reply(null, {
          sandbox: sandboxMessage({
            lease: { seconds: Math.trunc(seconds), nanos: Math.round((seconds % 1) * 1e9) },
          }),
        }),
      heartbeat: (_: unknown, reply: any) => {
        const failure = answer(++beats);
        if (failure) reply(failure);
        else reply(null, { leaseExpireTime: SOON });
        onBeat();
      },
    },
  });
  t.after(() => fake.stop());
  const sandbox = await fake.client.sandboxes.get("sbx_1");
  const reached = async (count: number) => {
    while (beats < count) await new Promise<void>((resolve) => (onBeat = resolve));
  };
  return { fake, sandbox, reached, beats: () => beats };
}

test("a heartbeat says until when the lease runs", async (t) => {
  const { sandbox } = await leased(t, 3);
  assert.deepEqual(await sandbox.heartbeat(), SOON);
});

test("keepAlive renews three times in a lease, until it is disposed of", async (t) => {
  const { sandbox, reached, beats } = await leased(t, 0.3);
  const began = performance.now();
  {
    using kept = sandbox.keepAlive();
    await reached(4);
    assert.deepEqual(kept.leaseExpireTime, SOON);
  }
  assert.ok(performance.now() - began >= 280, "a third of the lease lies between two");
  const last = beats();
  await new Promise((resolve) => setTimeout(resolve, 250));
  assert.ok(beats() <= last + 1, "one may have been under way");
});

test("keepAlive outlasts a service that is away", async (t) => {
  const { sandbox, reached } = await leased(t, 0.3, (beat) => (beat < 4 ? unavailable() : null));
  using kept = sandbox.keepAlive({ onError: (error) => assert.fail(String(error)) });
  await reached(5);
  assert.ok(kept);
});

test("keepAlive stops, and says so once, when the sandbox has ended", async (t) => {
  const gone = rpcError(status.FAILED_PRECONDITION, "gone", { reason: "SANDBOX_NOT_RUNNING" });
  const { sandbox, beats } = await leased(t, 0.3, (beat) => (beat > 1 ? gone : null));
  const error = await new Promise<unknown>((resolve) => sandbox.keepAlive({ onError: resolve }));
  assert.ok(error instanceof PreconditionError);
  assert.equal(error.reason, "SANDBOX_NOT_RUNNING");
  await new Promise((resolve) => setTimeout(resolve, 250));
  assert.equal(beats(), 2);
});

test("there is nothing to keep without a lease", async (t) => {
  const fake = await startFake({
    sandbox: { get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }) },
  });
  t.after(() => fake.stop());
  const sandbox = await fake.client.sandboxes.get("sbx_1");
  assert.throws(() => sandbox.keepAlive(), { reason: "NO_LEASE" });
});

test("a program that keeps a sandbox alive ends when it is done", async (t) => {
  const { fake } = await leased(t, 600);
  const program = `
    const { CrowNest } = await import("@crownest/sdk");
    const client = new CrowNest({ apiKey: "x", url: ${JSON.stringify(fake.url)} });
    const sandbox = await client.sandboxes.get("sbx_1");
    sandbox.keepAlive();
    console.log((await sandbox.heartbeat()).toISOString());`;
  const stdout = await new Promise((resolve, reject) =>
    execFile(
      process.execPath,
      ["--input-type=module", "-e", program],
      { cwd: new URL("../..", import.meta.url), timeout: 20_000 },
      (error, out) => (error ? reject(error) : resolve(out)),
    ),
  );
  assert.equal(stdout, `${SOON.toISOString()}\n`);
});
