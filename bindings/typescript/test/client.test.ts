// The client's own options, what it sends, and what it hands out.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { AuthenticationError, CrowNest, InvalidArgumentError, Sandbox } from "@crownest/sdk";
import { CollectWhen, ExitCause } from "#lib/gen/crownest/v1/command.js";
import { EndCause, SandboxState } from "#lib/gen/crownest/v1/sandbox.js";
import { parseUrl } from "#lib/transport.js";
import { VERSION } from "#lib/version.js";
import {
  commandMessage,
  exited,
  sandboxMessage,
  send,
  startFake,
  started,
  type RunCall,
} from "./fake.js";

test("the version is package.json's", () => {
  const { version } = JSON.parse(
    readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
  );
  assert.equal(VERSION, version);
});

test("urls", () => {
  assert.deepEqual(parseUrl("http://127.0.0.1:7070"), { address: "127.0.0.1:7070", tls: false });
  assert.deepEqual(parseUrl("http://[::1]:7070/"), { address: "[::1]:7070", tls: false });
  assert.deepEqual(parseUrl("http://nest"), { address: "nest:80", tls: false });
  assert.deepEqual(parseUrl("https://nest.example.org"), {
    address: "nest.example.org:443",
    tls: true,
  });
  assert.deepEqual(parseUrl("unix:/run/x.sock"), { address: "unix:/run/x.sock", tls: false });
  for (const bad of [
    "",
    "localhost:7070",
    "ftp://x",
    "http://",
    "http://x/path",
    "http://u:p@x",
    "http://x?y",
    "unix:x",
  ]) {
    assert.throws(() => parseUrl(bad), InvalidArgumentError, bad);
  }
});

test("options are checked, and come from the environment when they are not given", () => {
  const { CROWNEST_API_KEY, CROWNEST_URL } = process.env;
  try {
    delete process.env.CROWNEST_API_KEY;
    delete process.env.CROWNEST_URL;
    assert.throws(() => new CrowNest(), AuthenticationError);
    new CrowNest({ url: "unix:/run/x.sock" }).close();
    process.env.CROWNEST_API_KEY = "cnk_x";
    new CrowNest().close();
    process.env.CROWNEST_URL = "nonsense";
    assert.throws(() => new CrowNest(), InvalidArgumentError);
    for (const wrong of [
      { timeoutMs: 0 },
      { timeoutMs: NaN },
      { timeoutMs: Infinity },
      { maxRetries: -1 },
      { retryWindowMs: NaN },
    ]) {
      assert.throws(() => new CrowNest({ url: "http://x", ...wrong }), InvalidArgumentError);
    }
  } finally {
    for (const [name, value] of Object.entries({ CROWNEST_API_KEY, CROWNEST_URL })) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
});

test("the key goes along as a bearer token, also over a unix socket", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "crownest-sdk-"));
  t.after(() => rm(folder, { recursive: true }));
  const seen: unknown[] = [];
  const key = {
    whoAmI: (call: any, reply: any) => {
      seen.push(call.metadata.get("authorization")[0]);
      reply(null, { operator: seen.length > 1, projectId: "prj_1" });
    },
  };
  const tcp = await startFake({ key });
  const unix = await startFake({ key }, {}, `unix:${folder}/s`);
  t.after(() => Promise.all([tcp.stop(), unix.stop()]));
  assert.deepEqual(await tcp.client.whoami(), { operator: false, key: null, projectId: "prj_1" });
  assert.equal((await unix.client.whoami()).operator, true);
  assert.deepEqual(seen, ["Bearer cnk_test", "Bearer cnk_test"]);
});

test("the project goes along when one is given", async (t) => {
  const seen: unknown[][] = [];
  const key = {
    whoAmI: (call: any, reply: any) => {
      seen.push(call.metadata.get("x-crownest-project"));
      reply(null, { projectId: "prj_1" });
    },
  };
  const none = await startFake({ key });
  const one = await startFake({ key }, { project: "web" });
  t.after(() => Promise.all([none.stop(), one.stop()]));
  await none.client.whoami();
  await one.client.whoami();
  assert.deepEqual(seen, [[], ["web"]]);
});

test("a command becomes the request that the contract asks for", async (t) => {
  const specs: any[] = [];
  const fake = await startFake({
    sandbox: { get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }) },
    command: {
      run: (call: RunCall) => {
        specs.push(call.request.command);
        send(call, [started, exited({ exitCode: 2 })]);
      },
      start: (call: any, reply: any) => {
        specs.push(call.request.command);
        reply(null, { command: commandMessage() });
      },
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const result = await commands.run("echo $X", {
    env: { X: "1" },
    cwd: "/tmp",
    user: "root",
    timeout: 1.5,
    collect: ["*.log", { path: "a", name: "b" }],
    collectWhen: "always",
  });
  const { info: command } = await commands.start(["ls", "-l"]);
  assert.deepEqual(specs[0], {
    sandboxId: "sbx_1",
    argv: [],
    shell: "echo $X",
    env: { X: "1" },
    cwd: "/tmp",
    user: "root",
    timeout: { seconds: 1, nanos: 500_000_000 },
    collect: [
      { path: "*.log", name: "" },
      { path: "a", name: "b" },
    ],
    collectWhen: CollectWhen.ALWAYS,
    terminal: undefined,
    keepStdin: false,
  });
  assert.deepEqual(specs[1].argv, ["ls", "-l"]);
  assert.equal(specs[1].shell, "");
  assert.equal(specs[1].collectWhen, CollectWhen.UNSPECIFIED);
  assert.equal(specs[1].timeout, undefined);
  assert.equal(result.exitCause, "EXITED");
  assert.equal(result.exitCode, 2);
  assert.equal(result.signal, null);
  assert.deepEqual(result.usage, {
    wallSeconds: 1.5,
    cpuUsec: 7,
    maxRssBytes: 8,
    memoryPeakBytes: 9,
  });
  assert.equal(result.artifacts[0]?.artifactId, "art_1");
  assert.equal(command.exitCause, null);
  assert.equal(command.endTime, null);
  await assert.rejects(commands.run("x", { timeout: NaN }), { field: "timeout" });
});

test("how a command ended: by a signal, by its timeout, not at all", async (t) => {
  const ends = [
    { exitCause: ExitCause.SIGNALED, signal: 9 },
    { exitCause: ExitCause.TIMEOUT },
    { exitCause: ExitCause.UNSPECIFIED },
    { exitCause: ExitCause.EXITED },
  ];
  const fake = await startFake({
    sandbox: { get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }) },
    command: {
      get: (_: unknown, reply: any) => reply(null, { command: commandMessage(ends.shift()) }),
    },
  });
  t.after(() => fake.stop());
  const { commands } = await fake.client.sandboxes.get("sbx_1");
  const seen = [];
  while (ends.length > 0) {
    const { exitCause, exitCode, signal } = (await commands.get("cmd_1")).info;
    seen.push([exitCause, exitCode, signal]);
  }
  assert.deepEqual(seen, [
    ["SIGNALED", null, 9],
    ["TIMEOUT", null, null],
    [null, null, null],
    ["EXITED", 0, null],
  ]);
});

test("create sends ttl in seconds, resources, labels and env", async (t) => {
  let request: any;
  const fake = await startFake({
    sandbox: {
      create: (call: any, reply: any) => {
        request = call.request;
        reply(null, { sandbox: sandboxMessage() });
      },
    },
  });
  t.after(() => fake.stop());
  const sandbox = await fake.client.sandboxes.create({
    template: "python",
    ttl: 3,
    resources: { memoryBytes: 2 ** 33 },
    labels: { a: "b" },
    env: { C: "d" },
  });
  assert.deepEqual(request.ttl, { seconds: 3, nanos: 0 });
  assert.deepEqual(request.resources, {
    memoryBytes: 2 ** 33,
    cpuMillis: 0,
    maxProcesses: 0,
    diskBytes: 0,
    diskInodes: 0,
    ioBytesPerSec: 0,
    maxOpenFiles: 0,
    maxPtys: 0,
  });
  assert.deepEqual(
    [request.template, request.labels, request.env],
    ["python", { a: "b" }, { C: "d" }],
  );
  assert.ok(sandbox instanceof Sandbox);
  assert.equal(sandbox.info.state, "RUNNING");
  assert.equal(sandbox.info.endCause, null);
});

test("await using kills the sandbox at the end of the block, also when it is left by an error", async (t) => {
  const killed: string[] = [];
  const fake = await startFake({
    sandbox: {
      create: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }),
      kill: (call: any, reply: any) => {
        killed.push(call.request.sandboxId);
        reply(null, {
          sandbox: sandboxMessage({
            state: SandboxState.KILLED,
            endCause: EndCause.KILLED,
            endTime: new Date(0),
          }),
        });
      },
    },
  });
  t.after(() => fake.stop());
  let kept: Sandbox | undefined;
  await assert.rejects(async () => {
    await using sandbox = await fake.client.sandboxes.create();
    kept = sandbox;
    assert.deepEqual(killed, []);
    throw new Error("mine");
  }, /mine/);
  assert.deepEqual(killed, ["sbx_1"]);
  assert.equal(kept?.info.state, "KILLED");
  assert.equal(kept?.info.endCause, "KILLED");
});

test("closing a client ends what is under way", async (t) => {
  const fake = await startFake({ command: { streamLogs: () => {}, cancel: () => {} } });
  t.after(() => fake.stop());
  const closed = { code: "FAILED_PRECONDITION", reason: "CLIENT_CLOSED" };
  const reading = fake.client.commands.logs("cmd_1", { follow: true }).next();
  const cancelling = fake.client.commands.cancel("cmd_1");
  fake.client.close();
  await Promise.all([assert.rejects(reading, closed), assert.rejects(cancelling, closed)]);
});

test("a closed client refuses what is asked of it", async (t) => {
  const fake = await startFake({
    sandbox: { get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }) },
  });
  t.after(() => fake.stop());
  const sandbox = await fake.client.sandboxes.get("sbx_1");
  fake.client.close();
  const closed = { code: "FAILED_PRECONDITION", reason: "CLIENT_CLOSED" };
  await assert.rejects(sandbox.kill(), closed);
  await assert.rejects(sandbox.commands.run("x"), closed);
  await assert.rejects(sandbox.files.write("x", "y"), closed);
});

test("a program that is done exits though its client is still open", async (t) => {
  const fake = await startFake({
    key: { whoAmI: (_: unknown, reply: any) => reply(null, { projectId: "prj_1" }) },
  });
  t.after(() => fake.stop());
  const program = `
    const { CrowNest } = await import("@crownest/sdk");
    console.log((await new CrowNest({ apiKey: "x", url: ${JSON.stringify(fake.url)} }).whoami()).projectId);`;
  const stdout = await new Promise((resolve, reject) =>
    execFile(
      process.execPath,
      ["--input-type=module", "-e", program],
      { cwd: new URL("../..", import.meta.url), timeout: 10_000 },
      (error, out) => (error ? reject(error) : resolve(out)),
    ),
  );
  assert.equal(stdout, "prj_1\n");
});
