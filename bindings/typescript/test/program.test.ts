// The program of the README, line by line.
import assert from "node:assert/strict";
import { test } from "node:test";
import { CrowNest } from "@crownest/sdk";
import { EndCause, SandboxState } from "#lib/gen/crownest/v1/sandbox.js";
import {
  artifactMessage,
  exited,
  output,
  sandboxMessage,
  send,
  startFake,
  started,
  type RunCall,
} from "./fake.js";

test("create, run, collect, kill", async (t) => {
  const calls: unknown[] = [];
  const fake = await startFake({
    sandbox: {
      create: (call: any, reply: any) => {
        calls.push(["create", call.request.template]);
        reply(null, { sandbox: sandboxMessage() });
      },
      kill: (call: any, reply: any) => {
        calls.push(["kill", call.request.sandboxId]);
        reply(null, {
          sandbox: sandboxMessage({ state: SandboxState.KILLED, endCause: EndCause.KILLED }),
        });
      },
    },
    command: {
      run: (call: RunCall) => {
        calls.push(["run", call.request.command?.shell, call.request.command?.collect]);
        send(call, [started, output(0, Buffer.from("hello\n")), exited()]);
      },
    },
    artifact: {
      list: (call: any, reply: any) => {
        calls.push(["list", call.request.sandboxId]);
        reply(null, { artifacts: [artifactMessage()], nextPageToken: "" });
      },
    },
  });
  t.after(() => fake.stop());
  const written: string[] = [];
  const process = {
    env: { CROWNEST_API_KEY: "cnk_test" },
    stdout: { write: (chunk: Uint8Array) => written.push(Buffer.from(chunk).toString()) > 0 },
  };
  const before = globalThis.process.env.CROWNEST_URL;
  globalThis.process.env.CROWNEST_URL = fake.url;

  const client = new CrowNest({ apiKey: process.env.CROWNEST_API_KEY });
  // 01 - create
  const sandbox = await client.sandboxes.create({ template: "python" });
  // 02 - run
  const result = await sandbox.commands.run("python main.py", {
    collect: [{ path: "/workspace/report.html", name: "report.html" }],
    onStdout: (chunk) => process.stdout.write(chunk),
  });
  // 03 - collect
  const artifacts = await sandbox.artifacts.list();
  // 04 - kill
  await sandbox.kill();

  client.close();
  if (before === undefined) delete globalThis.process.env.CROWNEST_URL;
  else globalThis.process.env.CROWNEST_URL = before;
  assert.deepEqual(written, ["hello\n"]);
  assert.equal(result.exitCode, 0);
  assert.equal(artifacts[0]?.name, "report.html");
  assert.equal(sandbox.info.state, "KILLED");
  assert.deepEqual(calls, [
    ["create", "python"],
    ["run", "python main.py", [{ path: "/workspace/report.html", name: "report.html" }]],
    ["list", "sbx_1"],
    ["kill", "sbx_1"],
  ]);
});
