// Files and artifacts: whole, in bounded chunks, and verified.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { status } from "@grpc/grpc-js";
import {
  CancelledError,
  DeadlineError,
  InternalError,
  NotFoundError,
  QuotaError,
} from "@crownest/sdk";
import { FileType } from "#lib/gen/crownest/v1/file.js";
import { artifactMessage, rpcError, sandboxMessage, startFake, unavailable } from "./fake.js";

const sandbox = { get: (_: unknown, reply: any) => reply(null, { sandbox: sandboxMessage() }) };

/** A service that keeps what is written; `fail` is asked before each upload. */
async function uploads(fail: () => object | null = () => null) {
  const seen: { open: any; chunks: number[]; bytes: Buffer }[] = [];
  const fake = await startFake({
    sandbox,
    file: {
      write: (call: any, reply: any) => {
        const failure = fail();
        if (failure) return reply(failure);
        const chunks: Buffer[] = [];
        let open: any;
        let refused: object | undefined;
        call.on("data", ({ part }: any) => {
          if (part.$case === "data") chunks.push(part.value);
          else if (open === undefined) open = part.value;
          else
            refused = rpcError(status.INVALID_ARGUMENT, "opened twice", { reason: "WRITE_ORDER" });
        });
        call.on("end", () => {
          if (refused) return reply(refused);
          const bytes = Buffer.concat(chunks);
          seen.push({ open, chunks: chunks.map((chunk) => chunk.length), bytes });
          reply(null, { sizeBytes: bytes.length });
        });
      },
    },
  });
  return { fake, seen, files: (await fake.client.sandboxes.get("sbx_1")).files };
}

async function* stream(...parts: string[]) {
  for (const part of parts) yield Buffer.from(part);
}

test("text, bytes, streams and nothing are written whole", async (t) => {
  const { fake, seen, files } = await uploads();
  t.after(() => fake.stop());
  const big = Buffer.alloc(700_000, "abc");
  assert.deepEqual(await files.write("a", "ünï"), { sizeBytes: 5 });
  await files.write("b", big, { mode: 0o755, makeParents: true });
  await files.write(
    "c",
    (async function* () {
      yield new Uint8Array([1]);
      yield big;
    })(),
  );
  await files.write("d", "");
  assert.equal(seen[0]?.bytes.toString(), "ünï");
  assert.deepEqual(seen[1]?.open, {
    sandboxId: "sbx_1",
    path: "b",
    mode: 0o755,
    makeParents: true,
    uploadId: "",
    offset: 0,
    TotalBytes: { $case: "totalBytes", value: big.length },
  });
  assert.deepEqual(seen[1]?.bytes, big);
  assert.ok(Math.max(...(seen[1]?.chunks ?? [])) <= 256 * 1024);
  assert.deepEqual(seen[2]?.bytes, Buffer.concat([Buffer.from([1]), big]));
  assert.deepEqual(seen[3]?.chunks, []);
});

test("a write is sent again after a break, but a stream only once", async (t) => {
  let failures = 1;
  const { fake, seen, files } = await uploads(() => (failures-- > 0 ? unavailable() : null));
  t.after(() => fake.stop());
  await files.write("a", "x");
  assert.equal(seen.length, 1);
  failures = 1;
  await assert.rejects(files.write("a", stream("x")), { code: "UNAVAILABLE" });
});

/** A service whose uploads are cut off, and go on where they ended; `cuts`: after so many bytes. */
async function resumableUploads(cuts: number[]) {
  const seen: { uploadId: string; offset: number }[] = [];
  const files = new Map<string, Buffer>();
  const parts = new Map<string, Buffer>();
  const fake = await startFake({
    sandbox,
    file: {
      getUpload: ({ request }: any, reply: any) => {
        const part = parts.get(request.uploadId);
        if (part) return reply(null, { offset: part.length });
        reply(rpcError(status.NOT_FOUND, "nothing of it", { reason: "UPLOAD_NOT_FOUND" }));
      },
      write: (call: any, reply: any) => {
        let open: any;
        let bytes: Buffer = Buffer.alloc(0);
        const cut = cuts.shift() ?? Infinity;
        let over = false;
        call.on("data", ({ part }: any) => {
          if (over) return;
          if (part.$case === "open") {
            open = part.value;
            seen.push({ uploadId: open.uploadId, offset: open.offset });
            const before = parts.get(open.uploadId) ?? Buffer.alloc(0);
            bytes = before.subarray(0, open.offset);
            over = before.length !== open.offset && open.offset > 0;
            if (over) {
              return reply(rpcError(status.OUT_OF_RANGE, "more", { reason: "UPLOAD_OFFSET" }));
            }
          } else bytes = Buffer.concat([bytes, part.value]);
          parts.set(open.uploadId, bytes);
          if (bytes.length < cut) return;
          over = true;
          reply(unavailable());
        });
        call.on("end", () => {
          if (over) return;
          assert.equal(bytes.length, open.TotalBytes.value);
          parts.delete(open.uploadId);
          files.set(open.path, bytes);
          reply(null, { sizeBytes: bytes.length });
        });
      },
    },
  });
  const own = (await fake.client.sandboxes.get("sbx_1")).files;
  return { fake, seen, written: files, parts, files: own };
}

const LARGE = Buffer.from(Array.from({ length: 500_000 }, (_, i) => `${i}\n`).join(""));

test("a large write goes on where it was cut off, a small one begins again", async (t) => {
  const { fake, seen, written, files } = await resumableUploads([1_000_000, 2_000_000, Infinity, 5]);
  t.after(() => fake.stop());
  assert.deepEqual(await files.write("a", LARGE), { sizeBytes: LARGE.length });
  assert.deepEqual(written.get("a"), LARGE);
  assert.deepEqual(
    seen.map(({ offset }) => offset > 0),
    [false, true, true],
  );
  assert.equal(new Set(seen.map(({ uploadId }) => uploadId)).size, 1);
  assert.ok((seen[2]?.offset ?? 0) >= 2_000_000);
  await files.write("b", "small enough");
  assert.deepEqual(seen.slice(3), [
    { uploadId: "", offset: 0 },
    { uploadId: "", offset: 0 },
  ]);
});

test("a write with an id is gone on with by another call", async (t) => {
  const { fake, seen, written, parts, files } = await resumableUploads([1_000_000]);
  t.after(() => fake.stop());
  await assert.rejects(files.write("a", LARGE, { uploadId: "mine", maxRetries: 0 }), {
    code: "UNAVAILABLE",
  });
  assert.equal(written.size, 0);
  await files.write("a", LARGE, { uploadId: "mine" });
  assert.deepEqual(written.get("a"), LARGE);
  assert.deepEqual(
    seen.map(({ uploadId, offset }) => [uploadId, offset >= 1_000_000]),
    [
      ["mine", false],
      ["mine", true],
    ],
  );
  // What is longer than the data is not a part of it.
  parts.set("mine", Buffer.from("something else"));
  await files.write("b", "short", { uploadId: "mine" });
  assert.equal(written.get("b")?.toString(), "short");
  await assert.rejects(files.write("c", stream("x"), { uploadId: "mine" }), { field: "uploadId" });
});

test("a write asks again when more of its last try came meanwhile", async (t) => {
  const { fake, seen, written, parts, files } = await resumableUploads([]);
  t.after(() => fake.stop());
  parts.set("mine", LARGE.subarray(0, 10));
  const { get } = parts;
  parts.get = (id) => {
    const part = get.call(parts, id);
    // Between the question and the write.
    parts.get = get;
    parts.set(id, LARGE.subarray(0, 20));
    return part;
  };
  await files.write("a", LARGE, { uploadId: "mine" });
  assert.deepEqual(written.get("a"), LARGE);
  assert.deepEqual(
    seen.map(({ offset }) => offset),
    [10, 20],
  );
});

test("a source that fails leaves no file and passes its error on", async (t) => {
  const { fake, seen, files } = await uploads();
  t.after(() => fake.stop());
  const mine = new Error("mine");
  const source = (async function* () {
    yield Buffer.from("half");
    throw mine;
  })();
  await assert.rejects(files.write("a", source), (error) => error === mine);
  await files.write("b", "whole");
  assert.deepEqual(
    seen.map((file) => file.open.path),
    ["b"],
  );
});

test("an upload whose source is silent can be aborted, and leaves no file", async (t) => {
  const { fake, seen, files } = await uploads();
  t.after(() => fake.stop());
  const abort = new AbortController();
  const source = (async function* () {
    yield Buffer.from("half");
    abort.abort();
    await new Promise(() => {});
  })();
  await assert.rejects(files.write("a", source, { signal: abort.signal }), CancelledError);
  assert.deepEqual(seen, []);
});

test("a refusal while the upload goes on ends it at once", async (t) => {
  const full = rpcError(status.RESOURCE_EXHAUSTED, "full", { reason: "SANDBOX_DISK_FULL" });
  const { fake, files } = await uploads(() => full);
  t.after(() => fake.stop());
  await assert.rejects(files.write("a", Buffer.alloc(20_000_000)), { reason: "SANDBOX_DISK_FULL" });
});

test("an upload that nobody takes ends at timeoutMs, and an aborted one at once", async (t) => {
  const fake = await startFake({ sandbox, file: { write: () => {} } });
  t.after(() => fake.stop());
  const { files } = await fake.client.sandboxes.get("sbx_1");
  await assert.rejects(files.write("a", "x", { timeoutMs: 100, maxRetries: 0 }), DeadlineError);
  await assert.rejects(files.write("a", "x", { signal: AbortSignal.timeout(50) }), CancelledError);
});

test("a file is read as text, bytes and chunks, from the start again after a break", async (t) => {
  let cuts = 1;
  const fake = await startFake({
    sandbox,
    file: {
      read: (call: any) => {
        call.write({ data: Buffer.from("häl"), offset: call.request.offset });
        if (cuts-- > 0) return call.emit("error", unavailable());
        call.write({ data: Buffer.from("lo"), offset: 4 });
        call.end();
      },
      list: (_: unknown, reply: any) =>
        reply(null, {
          entries: [
            {
              name: "a",
              type: "FILE_TYPE_SYMLINK",
              sizeBytes: 0,
              mode: 0o777,
              modifyTime: new Date(1000),
              rawName: Buffer.alloc(0),
            },
          ],
          truncated: true,
        }),
    },
  });
  t.after(() => fake.stop());
  const { files } = await fake.client.sandboxes.get("sbx_1");
  assert.equal(await files.read("f"), "hällo");
  assert.deepEqual(await files.readBytes("f"), Buffer.from("hällo"));
  const chunks = [];
  for await (const chunk of files.readStream("f")) chunks.push(chunk.toString());
  assert.deepEqual(chunks, ["häl", "lo"]);
  await assert.rejects(files.read("f", { maxBytes: 5 }), QuotaError);
  assert.equal(await files.read("f", { maxBytes: 6 }), "hällo");
  const { entries, truncated } = await files.list();
  assert.deepEqual(entries, [
    {
      name: "a",
      rawName: null,
      type: "SYMLINK",
      sizeBytes: 0,
      mode: 0o777,
      modifyTime: new Date(1000),
    },
  ]);
  assert.equal(truncated, true);
});

const CONTENT = Buffer.from("the content of an artifact");
const DIGEST = `sha256:${createHash("sha256").update(CONTENT).digest("hex")}`;

/** A service with one artifact, of which each stream delivers `piece` bytes before it breaks. */
async function downloads(piece: number, digest = DIGEST, content = CONTENT) {
  const offsets: number[] = [];
  const fake = await startFake({
    sandbox,
    artifact: {
      get: (_: unknown, reply: any) =>
        reply(null, { artifact: artifactMessage({ sizeBytes: content.length, digest }) }),
      list: (call: any, reply: any) => {
        assert.equal(call.request.sandboxId, "sbx_1");
        reply(null, {
          artifacts: [artifactMessage({ sizeBytes: content.length, digest, commandId: "" })],
          nextPageToken: "",
        });
      },
      download: (call: any) => {
        const { offset } = call.request;
        offsets.push(offset);
        call.write({ data: content.subarray(offset, offset + piece), offset });
        if (offset + piece >= content.length) call.end();
        else call.emit("error", unavailable());
      },
    },
  });
  return { fake, offsets, artifacts: (await fake.client.sandboxes.get("sbx_1")).artifacts };
}

test("a download that breaks goes on where it stopped, and its digest is verified", async (t) => {
  const { fake, offsets, artifacts } = await downloads(10);
  t.after(() => fake.stop());
  assert.deepEqual(Buffer.from(await artifacts.download("art_1")), CONTENT);
  assert.deepEqual(offsets, [0, 10, 20]);
  const [listed] = await artifacts.list();
  assert.equal(listed?.commandId, null);
  assert.deepEqual(Buffer.from(await artifacts.download(listed ?? "")), CONTENT);
});

test("bytes whose digest differs are refused", async (t) => {
  const { fake, artifacts } = await downloads(99, `${DIGEST.slice(0, -1)}x`);
  t.after(() => fake.stop());
  await assert.rejects(artifacts.download("art_1"), (error) => {
    assert.ok(error instanceof InternalError);
    assert.equal(error.reason, "DIGEST_MISMATCH");
    return true;
  });
});

test("an empty artifact and one too large for memory", async (t) => {
  const empty = await downloads(1, `sha256:${createHash("sha256").digest("hex")}`, Buffer.alloc(0));
  t.after(() => empty.fake.stop());
  assert.equal((await empty.artifacts.download("art_1")).length, 0);
  const { fake, artifacts } = await downloads(99);
  t.after(() => fake.stop());
  await assert.rejects(artifacts.download("art_1", { maxBytes: 3 }), {
    reason: "TOO_LARGE_FOR_MEMORY",
  });
});

test("an artifact that is gone is not asked for again", async (t) => {
  let calls = 0;
  const gone = rpcError(status.NOT_FOUND, "gone", { reason: "ARTIFACT_NOT_FOUND" });
  const fake = await startFake({
    sandbox,
    artifact: { download: (call: any) => (calls++, call.emit("error", gone)) },
  });
  t.after(() => fake.stop());
  const { artifacts } = await fake.client.sandboxes.get("sbx_1");
  const artifact = { ...artifactMessage(), createTime: new Date(), commandId: null };
  await assert.rejects(artifacts.download(artifact), NotFoundError);
  assert.equal(calls, 1);
});

test("a change of the tree is retried with one request id, and says what was in its way", async (t) => {
  const seen: any[] = [];
  let failures = 1;
  const answer = (call: any, reply: any) => {
    seen.push(call.request);
    if (failures-- > 0) return reply(unavailable());
    reply(null, {});
  };
  const fake = await startFake({
    sandbox,
    file: {
      makeDir: answer,
      move: answer,
      remove: (_: unknown, reply: any) =>
        reply(rpcError(status.FAILED_PRECONDITION, "full", { reason: "DIRECTORY_NOT_EMPTY" })),
      stat: (_: unknown, reply: any) =>
        reply(null, {
          entry: {
            name: "a",
            type: FileType.SYMLINK,
            sizeBytes: 0,
            mode: 0o777,
            modifyTime: new Date(),
            rawName: Buffer.alloc(0),
          },
        }),
    },
  });
  t.after(() => fake.stop());
  const { files } = await fake.client.sandboxes.get("sbx_1");
  await files.makeDir("a/b", { makeParents: true });
  await files.move("a", "c", { replace: true, requestId: "mine" });
  assert.equal(seen.length, 3);
  assert.match(seen[0].requestId, /^[A-Za-z0-9_-]{1,64}$/);
  assert.equal(seen[1].requestId, seen[0].requestId);
  assert.deepEqual([seen[0].path, seen[0].makeParents], ["a/b", true]);
  assert.deepEqual(
    [seen[2].requestId, seen[2].fromPath, seen[2].toPath, seen[2].replace],
    ["mine", "a", "c", true],
  );
  await assert.rejects(files.remove("c"), { reason: "DIRECTORY_NOT_EMPTY" });
  assert.equal((await files.stat("a")).type, "SYMLINK");
});
