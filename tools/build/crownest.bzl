"""How this project compiles its own C: one set of warnings for every file."""

WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wshadow",
    "-Wvla",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wconversion",
    "-Wformat=2",
]

def c_library(name, copts = [], **kwargs):
    native.cc_library(name = name, copts = WARNINGS + copts, **kwargs)

def c_binary(name, copts = [], **kwargs):
    native.cc_binary(name = name, copts = WARNINGS + copts, **kwargs)

def c_test(name, copts = [], deps = [], **kwargs):
    """A cmocka test: one behaviour per file, each able to run alone."""
    native.cc_test(
        name = name,
        copts = WARNINGS + copts,
        deps = deps + ["@system//:cmocka"],
        **kwargs
    )
