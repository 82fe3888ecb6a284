// Requests are sent again when that may help, and mutations under the same id.
import assert from "node:assert/strict";
import { test } from "node:test";
import { status } from "@grpc/grpc-js";
import { CrowNest, DeadlineError, InvalidArgumentError, UnavailableError } from "@crownest/sdk";
import { backoffMs } from "#lib/time.js";
import {
  artifactMessage,
  commandMessage,
  rpcError,
  sandboxMessage,
  startFake,
  unavailable,
} from "./fake.js";

/** A handler that fails `times` times and keeps the request ids it saw. */
function flaky(times: number, answer: object, failure: object = unavailable()) {
  const ids: string[] = [];
  const handler = (call: any, reply: any) => {
    ids.push(call.request.requestId);
    if (ids.length <= times) reply(failure);
    else reply(null, answer);
  };
  return { ids, handler };
}

const previewMessage = {
  previewId: "prv_1",
  projectId: "prj_1",
  sandboxId: "sbx_1",
  port: 8080,
  url: "http://prv_1.localhost:7070/",
  createTime: new Date(),
};

function assertSameId(ids: string[], times: number) {
  assert.equal(ids.length, times);
  assert.match(ids[0] ?? "", /^[A-Za-z0-9_-]{1,64}$/);
  assert.equal(new Set(ids).size, 1);
}

test("every mutation that takes a request id carries the same one on each try", async (t) => {
  const create = flaky(2, { sandbox: sandboxMessage() });
  const start = flaky(1, { command: commandMessage() });
  const collect = flaky(1, { artifacts: [artifactMessage()] });
  const preview = flaky(1, { preview: previewMessage, token: "tok" });
  const fake = await startFake({
    sandbox: { create: create.handler },
    command: { start: start.handler },
    artifact: { collect: collect.handler },
    preview: { create: preview.handler },
  });
  t.after(() => fake.stop());
  const sandbox = await fake.client.sandboxes.create();
  await sandbox.commands.start("x");
  await sandbox.artifacts.collect(["x"]);
  const { headers } = await sandbox.previews.create({ port: 8080 });
  assertSameId(create.ids, 3);
  assertSameId(start.ids, 2);
  assertSameId(collect.ids, 2);
  assertSameId(preview.ids, 2);
  assert.equal(headers["X-CrowNest-Preview-Token"], "tok");
  await fake.client.sandboxes.create({ requestId: "mine" });
  assert.equal(create.ids.at(-1), "mine");
  await fake.client.sandboxes.create();
  assert.notEqual(create.ids.at(-1), create.ids[0]);
});

test("retries end after maxRetries", async (t) => {
  const { ids, handler } = flaky(99, {});
  const fake = await startFake({ sandbox: { get: handler } }, { maxRetries: 2 });
  t.after(() => fake.stop());
  await assert.rejects(fake.client.sandboxes.get("sbx_1"), UnavailableError);
  assert.equal(ids.length, 3);
});

test("UNAVAILABLE that is marked as not retryable is not tried again, nor are other codes", async (t) => {
  const refusal = rpcError(status.UNAVAILABLE, "no", {
    reason: "HOST_BROKEN",
    metadata: { retryable: "false" },
  });
  const broken = flaky(99, {}, refusal);
  const invalid = flaky(99, {}, { code: status.INVALID_ARGUMENT, details: "no" });
  const fake = await startFake({ sandbox: { get: broken.handler, kill: invalid.handler } });
  t.after(() => fake.stop());
  await assert.rejects(fake.client.sandboxes.get("sbx_1"), { reason: "HOST_BROKEN" });
  await assert.rejects(fake.client.sandboxes.kill("sbx_1"), InvalidArgumentError);
  assert.equal(broken.ids.length, 1);
  assert.equal(invalid.ids.length, 1);
});

test("retries end with their window, which opens at the first failure", async (t) => {
  const { ids, handler } = flaky(99, {});
  const fake = await startFake({ sandbox: { get: handler } }, { retryWindowMs: 250 });
  t.after(() => fake.stop());
  await assert.rejects(fake.client.sandboxes.get("sbx_1"), UnavailableError);
  assert.ok(ids.length >= 2 && ids.length <= 4, `${ids.length} tries`);
  await assert.rejects(fake.client.sandboxes.get("sbx_1", { retryWindowMs: 0 }), UnavailableError);
  assert.ok(ids.length <= 5, "with a window of 0 there is one try");
});

test("a service that never answered is given up sooner than one that did", async (t) => {
  const client = new CrowNest({ url: "http://127.0.0.1:1", apiKey: "cnk_x" });
  t.after(() => client.close());
  const began = performance.now();
  await assert.rejects(client.whoami(), UnavailableError);
  assert.ok(performance.now() - began < 20_000);
});

test("a service that went away and came back is none the wiser", async (t) => {
  const create = flaky(0, { sandbox: sandboxMessage() });
  const handlers = {
    key: { whoAmI: (_: unknown, reply: any) => reply(null, { projectId: "prj_1" }) },
    sandbox: { create: create.handler },
  };
  const fake = await startFake(handlers);
  t.after(() => fake.stop());
  await fake.client.whoami();
  fake.server.forceShutdown();
  const creating = fake.client.sandboxes.create();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const second = await startFake(handlers, {}, fake.url.replace("http://", ""));
  t.after(() => second.stop());
  await creating;
  assertSameId(create.ids, 1);
});

test("RetryInfo is obeyed, and not waited for beyond the window", async (t) => {
  const soon = flaky(
    1,
    { sandbox: sandboxMessage() },
    rpcError(status.UNAVAILABLE, "wait", {}, { retryMs: 400 }),
  );
  const late = flaky(1, {}, rpcError(status.UNAVAILABLE, "wait", {}, { retryMs: 90_000 }));
  const fake = await startFake({ sandbox: { get: soon.handler, kill: late.handler } });
  t.after(() => fake.stop());
  let began = performance.now();
  await fake.client.sandboxes.get("sbx_1");
  assert.ok(performance.now() - began >= 395, "it waited as long as it was told");
  began = performance.now();
  await assert.rejects(fake.client.sandboxes.kill("sbx_1"), UnavailableError);
  assert.ok(performance.now() - began < 10_000);
});

test("a request that is never answered ends at its deadline", async (t) => {
  const fake = await startFake(
    { sandbox: { get: () => {} }, command: { run: () => {} } },
    { timeoutMs: 150 },
  );
  t.after(() => fake.stop());
  await assert.rejects(fake.client.sandboxes.get("sbx_1"), DeadlineError);
  await assert.rejects(fake.client.sandboxes.get("sbx_1", { timeoutMs: 20 }), DeadlineError);
});

test("a Run whose `started` never comes ends at the deadline", async (t) => {
  const sandbox = { get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }) };
  const fake = await startFake({ sandbox, command: { run: () => {} } }, { timeoutMs: 150 });
  t.after(() => fake.stop());
  const handle = await fake.client.sandboxes.get("sbx_1");
  await assert.rejects(handle.commands.run("x"), DeadlineError);
});

test("a preview whose delete was answered into a broken connection counts as deleted", async (t) => {
  let tries = 0;
  const fake = await startFake({
    sandbox: { get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }) },
    preview: {
      delete: (call: any, reply: any) => {
        const gone = rpcError(status.NOT_FOUND, "gone", { reason: "PREVIEW_NOT_FOUND" });
        reply(call.request.previewId === "prv_1" && ++tries === 1 ? unavailable() : gone);
      },
    },
  });
  t.after(() => fake.stop());
  const { previews } = await fake.client.sandboxes.get("sbx_1");
  await previews.delete("prv_1");
  assert.equal(tries, 2);
  await assert.rejects(previews.delete("prv_2"), { reason: "PREVIEW_NOT_FOUND" });
});

test("waits double up to 2 s, are spread, and never undercut the service's wish", () => {
  for (const [failures, ceiling] of [
    [1, 100],
    [2, 200],
    [3, 400],
    [9, 2000],
    [50, 2000],
  ] as const) {
    const waits = Array.from({ length: 200 }, () => backoffMs(failures));
    assert.ok(Math.min(...waits) >= ceiling / 2 && Math.max(...waits) <= ceiling);
    assert.ok(Math.max(...waits) - Math.min(...waits) > ceiling / 10);
  }
  assert.ok(backoffMs(1, 3000) >= 3000);
});
