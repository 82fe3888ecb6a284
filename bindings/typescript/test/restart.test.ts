// The service is killed again and again while its clients work: they lose nothing and repeat nothing.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { connect, killAndAwait, needsRunDirectory as options } from "./service.js";

type Program = "crownestd" | "sandboxd";

/** Kills programs each time that another third of `bytes` has come. */
function killer(bytes: number, programs: Program[] = ["crownestd"]) {
  const state = { kills: 0, last: Promise.resolve() };
  return {
    state,
    seen(got: number): void {
      if (state.kills === 2 || got < (state.kills + 1) * (bytes / 3)) return;
      state.kills++;
      state.last = state.last.then(async () => {
        await Promise.all(programs.map(killAndAwait));
      });
    },
  };
}

for (const programs of [["crownestd"], ["sandboxd"], ["crownestd", "sandboxd"]] as Program[][]) {
  const what = programs.join(" and ");
  test(`a run's output is whole and once while ${what} die`, options, async (t) => {
    const client = connect(t);
    await using sandbox = await client.sandboxes.create({ template: "base" });
    const expected = Array.from({ length: 1000 }, (_, i) => `${i} of the lines\n`).join("");
    const kills = killer(expected.length, programs);
    let got = 0;
    const result = await sandbox.commands.run(
      "i=0; while [ $i -lt 1000 ]; do echo $i of the lines; i=$((i+1)); sleep 0.004; done; exit 5",
      {
        onStdout: (chunk) => {
          got += chunk.length;
          kills.seen(got);
        },
      },
    );
    await kills.state.last;
    assert.equal(result.stdout, expected);
    assert.equal(result.exitCode, 5);
    assert.equal(kills.state.kills, 2);
    assert.equal((await sandbox.refresh()).state, "RUNNING");
  });
}

test("one stream alone is followed through kills", options, async (t) => {
  const client = connect(t);
  await using sandbox = await client.sandboxes.create({ template: "base" });
  const command = await sandbox.commands.start(
    "i=0; while [ $i -lt 1000 ]; do echo $i; echo noise >&2; i=$((i+1)); sleep 0.003; done",
  );
  const expected = Array.from({ length: 1000 }, (_, i) => `${i}\n`).join("");
  const kills = killer(expected.length);
  let text = "";
  for await (const event of command.logs({ stream: "stdout", follow: true })) {
    if (event.type === "output") text += event.data.toString();
    kills.seen(text.length);
  }
  await kills.state.last;
  assert.equal(text, expected);
});

test("input is taken whole and once while the service is killed", options, async (t) => {
  const client = connect(t);
  await using sandbox = await client.sandboxes.create({ template: "base" });
  const data = Buffer.alloc(8_000_000);
  for (let at = 0; at < data.length; at += 4) data.writeUInt32LE(at, at);
  const command = await sandbox.commands.start(
    "for i in $(seq 1 80); do head -c 100000; sleep 0.03; done | sha256sum",
    { stdin: true },
  );
  const kills = killer(data.length);
  for (let at = 0; at < data.length; at += 400_000) {
    await command.writeStdin(data.subarray(at, at + 400_000));
    kills.seen(at);
  }
  await command.closeStdin();
  await kills.state.last;
  const { stdout } = await command.wait();
  assert.equal(stdout, `${createHash("sha256").update(data).digest("hex")}  -\n`);
  assert.equal(kills.state.kills, 2);
});

test("what is asked for while the service is away is done, and once", options, async (t) => {
  const client = connect(t);
  await using sandbox = await client.sandboxes.create({ template: "base", lease: 30 });
  using kept = sandbox.keepAlive({ onError: (error) => assert.fail(String(error)) });
  for (let round = 0; round < 2; round++) {
    const killed = killAndAwait("crownestd");
    await sandbox.commands.run("echo x >> ran");
    await sandbox.files.write(`file${round}`, "content");
    await using another = await client.sandboxes.create({ template: "base" });
    const command = await another.commands.start("sleep 1000");
    await killed;
    await Promise.all([killAndAwait("crownestd"), command.signal("SIGTERM"), sandbox.pause()]);
    await Promise.all([killAndAwait("sandboxd"), sandbox.resume()]);
    assert.equal((await command.wait()).signal, 15);
  }
  assert.equal(await sandbox.files.read("ran"), "x\nx\n");
  assert.ok(kept.leaseExpireTime);
});

test("a large file is written whole though the service is killed meanwhile", options, async (t) => {
  const client = connect(t);
  await using sandbox = await client.sandboxes.create({ template: "base" });
  const data = Buffer.alloc(64 * 1024 * 1024);
  for (let at = 0; at < data.length; at += 4) data.writeUInt32LE(at, at);
  const writing = sandbox.files.write("large", data);
  await sandbox.commands.run(
    "until [ -e large ] || [ -n \"$(find . -name '.*' -type f -size +1M)\" ]; do sleep 0.01; done",
  );
  await killAndAwait("crownestd");
  assert.deepEqual(await writing, { sizeBytes: data.length });
  const { stdout } = await sandbox.commands.run("sha256sum < large; ls -A");
  assert.equal(stdout, `${createHash("sha256").update(data).digest("hex")}  -\nlarge\n`);
});

test("a program with a terminal goes on where it was", options, async (t) => {
  const client = connect(t);
  await using sandbox = await client.sandboxes.create({ template: "base" });
  const shell = await sandbox.commands.start(["sh"], { terminal: {}, stdin: true });
  await shell.writeStdin("stty -echo; PS1=; x=5\n");
  await killAndAwait("crownestd");
  await shell.resize({ rows: 41, columns: 91 });
  await shell.writeStdin("stty size; echo $((x + 37))\n");
  await killAndAwait("sandboxd");
  await shell.writeStdin("exit 3\n");
  const { stdout, exitCode } = await shell.wait();
  assert.equal(exitCode, 3);
  assert.match(stdout, /41 91\r\n42\r\n/);
});
