// What the service says about a failure reaches the caller, typed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Metadata, status } from "@grpc/grpc-js";
import * as sdk from "@crownest/sdk";
import { rpcError, startFake } from "./fake.js";

/** The error that a call gets when the service answers this. */
async function errorFrom(
  answer: object,
  options: sdk.CrowNestOptions = {},
): Promise<sdk.CrowNestError> {
  const fake = await startFake(
    { sandbox: { get: (_: unknown, reply: any) => reply(answer) } },
    options,
  );
  try {
    return await fake.client.sandboxes.get("sbx_1").then(
      () => assert.fail("it should fail"),
      (error) => error,
    );
  } finally {
    await fake.stop();
  }
}

const CLASSES: [status, typeof sdk.CrowNestError][] = [
  [status.INVALID_ARGUMENT, sdk.InvalidArgumentError],
  [status.OUT_OF_RANGE, sdk.InvalidArgumentError],
  [status.UNAUTHENTICATED, sdk.AuthenticationError],
  [status.PERMISSION_DENIED, sdk.PermissionError],
  [status.NOT_FOUND, sdk.NotFoundError],
  [status.ALREADY_EXISTS, sdk.AlreadyExistsError],
  [status.RESOURCE_EXHAUSTED, sdk.QuotaError],
  [status.FAILED_PRECONDITION, sdk.PreconditionError],
  [status.UNAVAILABLE, sdk.UnavailableError],
  [status.DEADLINE_EXCEEDED, sdk.DeadlineError],
  [status.CANCELLED, sdk.CancelledError],
  [status.INTERNAL, sdk.InternalError],
  [status.UNIMPLEMENTED, sdk.InternalError],
  [status.DATA_LOSS, sdk.InternalError],
];
for (const [code, type] of CLASSES) {
  test(`${status[code]} is a ${type.name}`, async () => {
    const error = await errorFrom({ code, details: "why" }, { maxRetries: 0 });
    assert.equal(error.constructor, type);
    assert.ok(error instanceof sdk.CrowNestError);
    assert.equal(error.code, status[code]);
    assert.equal(error.message, "why");
  });
}

test("all details are read from grpc-status-details-bin", async () => {
  const metadata = {
    field: "command.cwd",
    retryable: "false",
    admitted: "no",
    remedy: "Name a directory.",
  };
  const error = await errorFrom(
    rpcError(
      status.INVALID_ARGUMENT,
      "cwd is a file",
      { reason: "CWD_NOT_A_DIRECTORY", metadata },
      { requestId: "req_1", retryMs: 1500, field: "ignored" },
    ),
  );
  assert.equal(error.message, "cwd is a file");
  assert.equal(error.reason, "CWD_NOT_A_DIRECTORY");
  assert.equal(error.field, "command.cwd");
  assert.equal(error.retryable, false);
  assert.equal(error.admitted, "no");
  assert.equal(error.remedy, "Name a directory.");
  assert.equal(error.requestId, "req_1");
  assert.equal(error.retryAfterMs, 1500);
});

test("the field also comes from BadRequest, and a foreign domain's reason is not ours", async () => {
  const error = await errorFrom(
    rpcError(status.INVALID_ARGUMENT, "no", { reason: "THEIRS", domain: "mesh" }, { field: "ttl" }),
  );
  assert.equal(error.field, "ttl");
  assert.equal(error.reason, "");
});

test("details that are garbage leave the status standing", async () => {
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from("ff07ff12", "hex"));
  const error = await errorFrom({ code: status.NOT_FOUND, details: "gone", metadata });
  assert.ok(error instanceof sdk.NotFoundError);
  assert.equal(error.reason, "");
});

test("an answer that lacks what the contract promises is an InternalError", async () => {
  const fake = await startFake({ sandbox: { get: (_: unknown, reply: any) => reply(null, {}) } });
  await assert.rejects(fake.client.sandboxes.get("sbx_1"), sdk.InternalError);
  await fake.stop();
});
