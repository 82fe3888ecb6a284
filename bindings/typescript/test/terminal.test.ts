// Programs that draw the whole screen, driven through the SDK on a real service.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test, type TestContext } from "node:test";
import { CrowNest, type Sandbox } from "@crownest/sdk";
import { Screen } from "./screen.js";
import { connect, needsService } from "./service.js";

async function base(t: TestContext): Promise<Sandbox> {
  const client = new CrowNest();
  const sandbox = await client.sandboxes.create({ template: "base" });
  t.after(async () => {
    await sandbox.kill();
    client.close();
  });
  return sandbox;
}

test("vi is opened, typed into, resized, and left with what was typed", needsService, async (t) => {
  const sandbox = await base(t);
  if ((await sandbox.commands.run("command -v vi")).exitCode !== 0)
    return t.skip("the template `base` on this host was built before it had vi");
  await sandbox.files.write(
    "note.txt",
    Array.from({ length: 60 }, (_, i) => `row ${i}\n`).join(""),
  );
  const vi = await sandbox.commands.start(["vi", "-u", "NONE", "note.txt"], {
    terminal: { rows: 12, columns: 60 },
    stdin: true,
  });
  const screen = new Screen(vi, 12, 60);
  // The last row is the status line, the others hold the file.
  await screen.until(
    "it shows the file",
    (lines) => lines[10] === "row 10" && /note/.test(lines[11] ?? ""),
  );
  await vi.writeStdin("Ohello from afar");
  await screen.until(
    "it shows what is typed",
    (lines) => lines[0] === "hello from afar" && lines[10] === "row 9",
  );

  await screen.resize(30, 100);
  await screen.until("it fills 30 rows", (lines) => lines[28] === "row 27");
  await vi.writeStdin(
    "\x1b:s/afar/far away, in a line that is longer than sixty columns are wide/\r",
  );
  const long = "hello from far away, in a line that is longer than sixty columns are wide";
  await screen.until(
    "a line takes 100 columns",
    (lines) => lines[0] === long && lines[1] === "row 0",
  );

  await screen.resize(8, 40);
  await screen.until(
    "the long line is folded",
    (lines) => lines[0] === long.slice(0, 40).trimEnd() && lines[1] === long.slice(40).trimEnd(),
  );

  await vi.writeStdin(":wq\r");
  await screen.end();
  assert.equal((await vi.refresh()).exitCode, 0);
  const [first, second] = (await sandbox.files.read("note.txt")).split("\n");
  assert.deepEqual([first, second], [long, "row 0"]);
});

test("less shows as much as its terminal holds, and takes keys", needsService, async (t) => {
  const sandbox = await base(t);
  const less = await sandbox.commands.start("seq -f 'line-%g' 1 500 > f; exec less f", {
    terminal: { rows: 10, columns: 40 },
    stdin: true,
  });
  const screen = new Screen(less, 10, 40);
  await screen.until("it fills 10 rows", (lines) => lines[8] === "line-9");
  await screen.resize(30, 40);
  await screen.until("it fills 30 rows", (lines) => lines[28] === "line-29");
  await less.writeStdin("G");
  await screen.until("it shows the end", (lines) => lines[28] === "line-500");
  await less.writeStdin("q");
  await screen.end();
  assert.equal((await less.refresh()).exitCode, 0);
  await assert.rejects(less.writeStdin("q"), { reason: "COMMAND_NOT_RUNNING" });
});

test("top draws again for every size, and ends on q", needsService, async (t) => {
  const sandbox = await base(t);
  const top = await sandbox.commands.start("top -d 60", {
    terminal: { rows: 24, columns: 80 },
    stdin: true,
  });
  const screen = new Screen(top, 24, 80);
  const drawn = (lines: string[]) => lines.some((line) => line.includes("COMMAND"));
  await screen.until("it shows its heading", drawn);
  for (const rows of [40, 12]) {
    await screen.resize(rows, 100);
    await screen.until("it shows its heading again", drawn);
  }
  await top.writeStdin("q");
  await screen.end();
  assert.equal((await top.refresh()).exitCode, 0);
});

test(
  "a shell on a terminal: Ctrl-C, job control, its size, and the end of input",
  needsService,
  async (t) => {
    const sandbox = await base(t);
    const shell = await sandbox.commands.start(["bash", "--norc", "-i"], {
      terminal: { rows: 33, columns: 77 },
      stdin: true,
      env: { PS1: "ready> " },
    });
    const screen = new Screen(shell, 33, 77);
    const last = (lines: string[]) => lines.filter(Boolean).at(-1);
    await screen.until("there is a prompt", (lines) => last(lines) === "ready>");
    // One job, which says that it runs: before that the signal might be for the shell alone.
    await shell.writeStdin("sh -c 'stty size; exec sleep 1000'\n");
    await screen.until("it tells its size", (lines) => last(lines) === "33 77");
    await shell.writeStdin("\x03");
    await screen.until("the sleep was interrupted", (lines) => last(lines) === "ready>");
    await shell.writeStdin("echo $?; exit 7\x7f6\n");
    await screen.end();
    assert.equal((await shell.refresh()).exitCode, 6);
    assert.ok(screen.lines().includes("130"));
    const reader = await sandbox.commands.start("cat", { terminal: {}, stdin: true });
    await reader.writeStdin("a\n");
    await reader.closeStdin();
    assert.equal((await reader.wait()).exitCode, 0);
  },
);

test("input is taken whole and once, by offset", needsService, async (t) => {
  const sandbox = await base(t);
  const data = Buffer.alloc(3_000_000, "0123456789abcde\n");
  const digest = `${createHash("sha256").update(data).digest("hex")}  -\n`;
  const sum = await sandbox.commands.start("exec sha256sum", { stdin: true });
  await sum.writeStdin(data);
  const same = await connect(t).commands.get(sum.commandId);
  assert.equal(await same.stdinOffset(), data.length);
  await same.writeStdin(data.subarray(0, 1000), { offset: 0 });
  await sum.closeStdin();
  assert.equal((await sum.wait()).stdout, digest);
  assert.equal((await sandbox.commands.run("sha256sum", { stdin: data })).stdout, digest);
});

test("a command that does not read holds its writer up, and no longer", needsService, async (t) => {
  const sandbox = await base(t);
  const lazy = await sandbox.commands.start("sleep 6; wc -c", { stdin: true });
  const began = performance.now();
  await lazy.writeStdin(Buffer.alloc(1_000_000));
  assert.ok(performance.now() - began > 5000);
  await lazy.closeStdin();
  assert.equal((await lazy.wait()).stdout, "1000000\n");
  const never = await sandbox.commands.start("sleep 1000", { stdin: true });
  const writing = never.writeStdin(Buffer.alloc(1_000_000), { signal: AbortSignal.timeout(300) });
  await assert.rejects(writing, { name: "AbortError" });
  const { stdout } = await sandbox.commands.run("head -c 3", {
    stdin: Buffer.alloc(5_000_000, "x"),
  });
  assert.equal(stdout, "xxx");
});

test("signals arrive, by name and by number", needsService, async (t) => {
  const sandbox = await base(t);
  const sleeper = await sandbox.commands.start("exec sleep 100");
  await sleeper.signal("SIGUSR1");
  assert.equal((await sleeper.wait()).signal, 10);
  const trap = await sandbox.commands.start(
    "trap 'echo got it; exit 3' INT; echo on; sleep 100 & wait",
  );
  for await (const event of trap.logs({ follow: true })) if (event.type === "output") break;
  await trap.signal(2);
  const { stdout, exitCode } = await trap.wait();
  assert.deepEqual([stdout, exitCode], ["on\ngot it\n", 3]);
  await assert.rejects(trap.signal(99), { reason: "SIGNAL_INVALID" });
});

test("one stream alone, and the last lines or bytes", needsService, async (t) => {
  const sandbox = await base(t);
  const { commandId } = await sandbox.commands.run(
    "seq 1 100; echo one >&2; seq 101 120; echo two >&2",
  );
  const read = async (options: object) => {
    let text = "";
    for await (const event of (await connect(t).commands.get(commandId)).logs(options))
      if (event.type === "output") text += event.data.toString();
    return text;
  };
  assert.equal(await read({ stream: "stderr" }), "one\ntwo\n");
  assert.match(await read({ stream: "stdout" }), /^1\n2\n[^]*\n120\n$/);
  assert.equal(await read({ stream: "stdout", tailLines: 3 }), "118\n119\n120\n");
  assert.equal((await read({ tailBytes: 8 })).length, 8);
  assert.equal(await read({ tailLines: 2, stream: "stderr", follow: true }), "one\ntwo\n");
});

test("a sandbox is paused, resumed, kept alive, and says why it lives", needsService, async (t) => {
  const client = connect(t);
  await using parent = await client.sandboxes.create({ template: "base", lease: 60 });
  await using child = await client.sandboxes.create({
    template: "base",
    parentSandboxId: parent.sandboxId,
    resources: { maxOpenFiles: 128 },
  });
  assert.equal(parent.info.leaseSeconds, 60);
  assert.equal(child.info.resources.maxOpenFiles, 128);
  assert.equal((await child.commands.run("ulimit -n")).stdout, "128\n");
  assert.equal((await parent.pause()).state, "PAUSED");
  await assert.rejects(parent.commands.run("true"), { reason: "SANDBOX_PAUSED" });
  assert.equal((await parent.resume()).state, "RUNNING");
  assert.ok((await parent.heartbeat()) > new Date());
  await assert.rejects(child.heartbeat(), { reason: "NO_LEASE" });
  const { expireTime } = await parent.update({ ttl: 1000, labels: { a: "b" } });
  assert.ok(expireTime.getTime() > Date.now() + 900_000);
  assert.deepEqual(parent.info.labels, { a: "b" });
  const stats = await parent.stats();
  assert.ok(stats.processes > 0 && stats.keptBy.length > 0);
  await parent.kill();
  while ((await child.refresh()).endCause === null) await new Promise((r) => setTimeout(r, 50));
  assert.equal(child.info.endCause, "PARENT");
});

test("keepAlive carries a sandbox over its lease, and no further", needsService, async (t) => {
  await using sandbox = await connect(t).sandboxes.create({ template: "base", lease: 1 });
  {
    using kept = sandbox.keepAlive({ onError: (error) => assert.fail(String(error)) });
    assert.equal((await sandbox.commands.run("sleep 2.5; echo there")).stdout, "there\n");
    assert.ok(kept.leaseExpireTime && kept.leaseExpireTime.getTime() > Date.now());
  }
  while ((await sandbox.refresh()).endCause === null) await new Promise((r) => setTimeout(r, 50));
  assert.equal(sandbox.info.endCause, "LEASE");
});
