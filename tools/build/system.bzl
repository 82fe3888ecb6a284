"""Debian's C libraries as Bazel targets: @system//:grpc and so on."""

# target: (pkg-config modules, further linker flags)
_PKG_CONFIG = {
    "argon2": (["libargon2"], []),
    "cap": (["libcap"], []),
    "cmocka": (["cmocka"], []),
    "crypto": (["libcrypto"], []),
    "curl": (["libcurl"], []),
    "deflate": (["libdeflate"], []),
    # upb is linked by gRPC itself and used for reflection; it must be this very library. The
    # deadlock detector of abseil is switched off through its synchronization library.
    "grpc": (["grpc", "gpr"], ["-lgrpc", "-lgpr", "-lupb", "-labsl_synchronization"]),
    "jansson": (["jansson"], []),
    "libevent": (["libevent", "libevent_pthreads"], []),
    "protobuf_c": (["libprotobuf-c"], []),
    "seccomp": (["libseccomp"], []),
    "ssl": (["libssl", "libcrypto"], []),
    "zstd": (["libzstd"], []),
}

# target: linker flags of libraries without a pkg-config file
_PLAIN = {
    "rocksdb": ["-lrocksdb"],
}

# Node's HTTP/1 parser, which Debian ships as C source.
_LLHTTP = """
cc_library(
    name = "llhttp",
    srcs = glob(["llhttp_src/*.c"]),
    hdrs = glob(["llhttp_include/*.h"]),
    # Loose mode, the default, takes "Host :" and anything in place of the CRLF after a chunk.
    copts = ["-w", "-DLLHTTP_STRICT_MODE=1"],
    includes = ["llhttp_include"],
)
"""

def _flags(ctx, modules):
    result = ctx.execute(["pkg-config", "--libs"] + modules)
    if result.return_code != 0:
        fail("pkg-config knows no %s: run tools/setup" % modules)
    return [f for f in result.stdout.strip().split(" ") if f.startswith("-l")]

def _impl(ctx):
    build = 'package(default_visibility = ["//visibility:public"])\n'
    for name, (modules, extra) in _PKG_CONFIG.items():
        build += 'cc_library(name = "%s", linkopts = %r)\n' % (name, extra or _flags(ctx, modules))
    for name, linkopts in _PLAIN.items():
        build += 'cc_library(name = "%s", linkopts = %r)\n' % (name, linkopts)
    ctx.symlink("/usr/share/llhttp", "llhttp_src")
    ctx.symlink("/usr/share/include/llhttp", "llhttp_include")
    ctx.file("BUILD.bazel", build + _LLHTTP)

system_libraries = repository_rule(
    implementation = _impl,
    local = True,
    doc = "Asks pkg-config for the host's libraries.",
)
