// The main job, end to end: create a sandbox, run a program in it and see its output as it comes,
// collect the file it made, look at it through a preview, kill the sandbox, and read everything again.
//
//   CROWNEST_API_KEY=cnk_… npm run quickstart        (CROWNEST_URL if not http://127.0.0.1:7070)
import { createHash } from "node:crypto";
import { get as httpGet } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { CrowNest, type CreatedPreview } from "@crownest/sdk";

const PROGRAM = `
import time

rows = []
for step in ("reading", "thinking", "writing"):
    print(f"{step} ...", flush=True)
    rows.append(f"<li>{step}</li>")
    time.sleep(0.3)
with open("report.html", "w") as report:
    report.write("<h1>Report</h1><ul>" + "".join(rows) + "</ul>\\n")
print("report.html is written", flush=True)
`;

const client = new CrowNest({ apiKey: process.env.CROWNEST_API_KEY });

// 01 - create
let done = step("01 create");
const sandbox = await client.sandboxes.create({ template: "python" });
done(
  `${sandbox.sandboxId} is ${sandbox.info.state}, template ${sandbox.info.templateDigest.slice(0, 19)}…`,
);

try {
  done = step("   write main.py");
  const { sizeBytes } = await sandbox.files.write("main.py", PROGRAM);
  done(`${sizeBytes} bytes`);

  // 02 - run
  console.log("02 run                        python main.py, its output as it comes:");
  done = step("   its end");
  const began = performance.now();
  const received: Buffer[] = [];
  let lineBegins = true;
  const result = await sandbox.commands.run("python main.py", {
    collect: [{ path: "/workspace/report.html", name: "report.html" }],
    onStdout: (chunk) => {
      received.push(chunk);
      if (lineBegins) process.stdout.write(`${since(began).padStart(28)}  | `);
      process.stdout.write(chunk);
      lineBegins = chunk.at(-1) === 0x0a;
    },
    onStderr: (chunk) => process.stderr.write(chunk),
  });
  done(`${result.commandId} ${result.exitCause} with code ${result.exitCode}`);
  check(result.exitCode === 0, "the program exits with 0");
  check(received.length > 1, "its output came in pieces while it ran");

  // 03 - collect
  done = step("03 collect");
  const artifacts = await sandbox.artifacts.list();
  done(
    artifacts
      .map(
        (artifact) =>
          `${artifact.name} ${artifact.sizeBytes} bytes ${artifact.digest.slice(0, 19)}…`,
      )
      .join(", "),
  );
  const report = artifacts.find((artifact) => artifact.name === "report.html");
  check(report !== undefined, "report.html is an artifact");

  done = step("   preview");
  const server = await sandbox.commands.start("exec python -m http.server 8080");
  const preview = await sandbox.previews.create({ port: 8080 });
  const page = await visit(preview, "report.html");
  done(
    `${preview.url} answers ${page.status} with ${page.body.length} bytes (served by ${server.commandId})`,
  );
  check(page.body.includes("<h1>Report</h1>"), "the preview shows the report");
  check(
    (await visit({ ...preview, headers: {} }, "report.html")).status === 401,
    "without its token it answers 401",
  );

  // 04 - kill
  done = step("04 kill");
  await sandbox.kill();
  done(
    `${sandbox.info.state}, cause ${sandbox.info.endCause}, ${(sandbox.info.cpuUsec / 1000).toFixed(0)} ms of CPU used`,
  );

  done = step("   read again");
  const log: Buffer[] = [];
  for await (const event of sandbox.commands.logs(result.commandId, { offset: 0 })) {
    if (event.type === "output" && event.stream === "stdout") log.push(event.data);
  }
  const content = await sandbox.artifacts.download(report);
  done("its log and its artifact outlive the sandbox");
  check(
    Buffer.concat(log).equals(Buffer.concat(received)),
    "the log is byte for byte what onStdout got",
  );
  check(
    `sha256:${createHash("sha256").update(content).digest("hex")}` === report.digest,
    "the artifact's digest matches",
  );

  console.log(`
How to go on
   crownest ps                          the sandboxes, living and ended
   crownest logs -f ${result.commandId}
   npm run quickstart                   this program again: bindings/typescript/examples/quickstart.ts`);
} catch (error) {
  await sandbox.kill().catch(() => undefined);
  throw error;
} finally {
  client.close();
}

/** Begins a step; the function it returns says what happened and how long it took. */
function step(name: string): (what: string) => void {
  const began = performance.now();
  return (what) => console.log(`${name.padEnd(18)}${since(began).padStart(10)}  ${what}`);
}

function since(began: number): string {
  return `${(performance.now() - began).toFixed(1)} ms`;
}

function check(ok: boolean, what: string): asserts ok {
  if (!ok) throw new Error(`This should be so, and is not: ${what}.`);
  console.log(`${" ".repeat(30)}✓ ${what}`);
}

/** Fetches a page of a preview with its token, until the program behind the port answers. */
async function visit(
  preview: CreatedPreview,
  path: string,
): Promise<{ status: number; body: string }> {
  const url = new URL(path, preview.url);
  for (const deadline = Date.now() + 10_000; ; await delay(100)) {
    const page = await fetchLocal(url, preview.headers).catch((error: unknown) => {
      if (Date.now() > deadline) throw error;
      return null;
    });
    if (page && (page.status < 500 || Date.now() > deadline)) return page;
  }
}

/** As fetch, but names below `localhost` are this machine also where the resolver does not know. */
function fetchLocal(
  url: URL,
  headers: Record<string, string>,
): Promise<{ status: number; body: string }> {
  const hostname = url.hostname.endsWith(".localhost") ? "127.0.0.1" : url.hostname;
  return new Promise((resolve, reject) => {
    const request = httpGet(
      { hostname, port: url.port, path: url.pathname, headers: { ...headers, host: url.host } },
      (response) => {
        let body = "";
        response.setEncoding("utf8");
        response.on("data", (text: string) => (body += text));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
        response.on("error", reject);
      },
    );
    request.on("error", reject);
  });
}
