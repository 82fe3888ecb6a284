// Lists: `await` is a page, `for await` is all of them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidArgumentError } from "@crownest/sdk";
import { sandboxMessage, startFake } from "./fake.js";

async function pages() {
  const requests: any[] = [];
  const fake = await startFake({
    sandbox: {
      list: (call: any, reply: any) => {
        requests.push(call.request);
        const at = Number(call.request.pageToken || 0);
        const sandboxes = [at, at + 1].map((n) => sandboxMessage({ sandboxId: `sbx_${n}` }));
        reply(null, { sandboxes, nextPageToken: at < 4 ? String(at + 2) : "" });
      },
    },
  });
  return { fake, requests };
}

test("await gives the first page and where the next one begins", async (t) => {
  const { fake, requests } = await pages();
  t.after(() => fake.stop());
  const page = await fake.client.sandboxes.list({ pageSize: 2, state: "RUNNING" });
  assert.deepEqual(
    page.map((sandbox) => sandbox.sandboxId),
    ["sbx_0", "sbx_1"],
  );
  assert.equal(page.nextPageToken, "2");
  assert.equal(requests[0].pageSize, 2);
  assert.equal(requests[0].state, "SANDBOX_STATE_RUNNING");
  const next = await fake.client.sandboxes.list({ pageToken: page.nextPageToken });
  assert.equal(next[0]?.sandboxId, "sbx_2");
  assert.equal(requests[1].state, "SANDBOX_STATE_UNSPECIFIED");
});

test("for await walks through all pages", async (t) => {
  const { fake, requests } = await pages();
  t.after(() => fake.stop());
  const ids = [];
  for await (const sandbox of fake.client.sandboxes.list()) ids.push(sandbox.sandboxId);
  assert.deepEqual(ids, ["sbx_0", "sbx_1", "sbx_2", "sbx_3", "sbx_4", "sbx_5"]);
  assert.deepEqual(
    requests.map((request) => request.pageToken),
    ["", "2", "4"],
  );
});

test("a loop that is left early asks for no more pages", async (t) => {
  const { fake, requests } = await pages();
  t.after(() => fake.stop());
  for await (const sandbox of fake.client.sandboxes.list())
    if (sandbox.sandboxId === "sbx_1") break;
  assert.equal(requests.length, 1);
});

test("an unknown state is refused here", async (t) => {
  const { fake } = await pages();
  t.after(() => fake.stop());
  assert.throws(
    () => fake.client.sandboxes.list({ state: "DEAD" as "KILLED" }),
    InvalidArgumentError,
  );
});
