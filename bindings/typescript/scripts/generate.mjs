// Generates src/gen from the repository's protos with the system's protoc and the pinned ts-proto.
// An installed package has no protos beside it and does not need this: it ships the compiled code.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const protos = join(root, "..", "..", "proto");
const out = join(root, "src", "gen");
const plugin = join(root, "node_modules", ".bin", "protoc-gen-ts_proto");

const options = [
  "env=node",
  "esModuleInterop=true",
  "importSuffix=.js",
  "outputServices=grpc-js",
  "outputJsonMethods=false",
  "oneof=unions-value",
  "useDate=true",
  "stringEnums=true",
  "enumsAsLiterals=true",
  "removeEnumPrefix=true",
];

const files = readdirSync(join(protos, "crownest", "v1"))
  .filter((name) => name.endsWith(".proto"))
  .map((name) => `crownest/v1/${name}`);
files.push("private/google_rpc.proto");

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
try {
  execFileSync(
    "protoc",
    [
      `--plugin=protoc-gen-ts_proto=${plugin}`,
      `--ts_proto_out=${out}`,
      `--ts_proto_opt=${options.join(",")}`,
      `--proto_path=${protos}`,
      ...files,
    ],
    { stdio: "inherit" },
  );
} catch (error) {
  if (error.code === "ENOENT") {
    console.error("protoc is not installed (Debian: protobuf-compiler and libprotobuf-dev)");
  }
  process.exit(1);
}
