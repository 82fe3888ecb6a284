#!/usr/bin/python3
"""Measures CrowNest and, with --peers, crun, bwrap and runc in the same run.

Called by tools/bench, which starts the service and gives this process a mount namespace of its own.
Who is measured changes with every single measurement (ours, crun, bwrap, runc, ours, ...), so that
a machine that gets slower gets slower for all.

What the peers do is what they are told to do elsewhere: an OCI bundle as `runc spec` writes it, or
`bwrap --unshare-all`, on the same template image mounted read-only. They get limits where they have
any, and no /sys/fs/cgroup mount, since ours has none.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile

OPERATIONS = ("create", "exec", "stream")
CGROUP = "/crownest/bench"
WARM_UP = 3


class Worker:
    """A measuring program: one request in, one measurement out."""

    def __init__(self, path, **environment):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        encoding="utf-8", env={**os.environ, **environment})

    def ask(self, *words):
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 4:
            sys.exit(f"bench: {' '.join(words[:4])} failed, see above")
        return dict(zip(("total", "exited", "first", "bytes"), map(int, answer)))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ours:
    def __init__(self, name, worker, template):
        self.name = name
        self.worker = worker
        self.template = template

    def start(self):
        self.worker.ask("open", self.template)

    def create(self, argv):
        return self.worker.ask("create", self.template, *argv)

    def exec(self, argv):
        return self.worker.ask("exec", *argv)

    stream = exec

    def stop(self):
        self.worker.ask("close")


class Oci:
    """crun and runc: the same bundle, the same command line."""

    def __init__(self, name, worker, root, folder):
        self.name = name
        self.worker = worker
        self.root = root
        self.folder = os.path.join(folder, name)
        self.state = os.path.join(self.folder, "state")
        os.makedirs(self.state)

    def bundle(self, what, argv):
        path = os.path.join(self.folder, what)
        if not os.path.exists(path):
            os.mkdir(path)
            subprocess.run(["runc", "spec", "--bundle", path], check=True)
        config = os.path.join(path, "config.json")
        with open(config, encoding="utf-8") as file:
            spec = json.load(file)
        spec["process"].update(terminal=False, args=list(argv), cwd="/workspace",
                               user={"uid": 1000, "gid": 1000})
        spec["process"]["capabilities"] = {}
        spec["root"] = {"path": self.root, "readonly": True}
        spec["mounts"] = [m for m in spec["mounts"] if m["destination"] != "/sys/fs/cgroup"]
        spec["linux"]["cgroupsPath"] = f"{CGROUP}/{self.name}-{what}"
        spec["linux"]["resources"].update(memory={"limit": 512 << 20}, pids={"limit": 256},
                                          cpu={"quota": 100000, "period": 100000})
        with open(config, "w", encoding="utf-8") as file:
            json.dump(spec, file)
        return path

    def call(self, *words):
        return [self.name, "--root", self.state, *words]

    def start(self):
        path = self.bundle("living", ["/bin/sleep", "100000"])
        subprocess.run(self.call("run", "--detach", "--bundle", path, "living"), check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.once = self.bundle("once", ["/bin/true"])

    def create(self, argv):
        assert tuple(argv) == ("/bin/true",)
        return self.worker.ask(*self.call("run", "--bundle", self.once, "once"))

    def exec(self, argv):
        return self.worker.ask(*self.call("exec", "living", *argv))

    stream = exec

    def stop(self):
        subprocess.run(self.call("delete", "--force", "living"), check=True)


class Bwrap:
    """Has no living sandbox to run a command in: `exec` is left out, `stream` makes one."""

    name = "bwrap"

    def __init__(self, worker, root):
        self.worker = worker
        self.root = root

    def start(self):
        pass

    def create(self, argv):
        return self.worker.ask("bwrap", "--unshare-all", "--die-with-parent", "--ro-bind",
                               self.root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs",
                               "/tmp", "--tmpfs", "/workspace", "--uid", "1000", "--gid", "1000",
                               "--chdir", "/workspace", *argv)

    stream = create
    exec = None

    def stop(self):
        pass


def prepare_cgroups():
    """crun refuses the hybrid layout, so in this mount namespace there is v1 alone: a folder of our
    own with the same hierarchies. On a host of v2 alone nothing is to be done."""
    base = "/sys/fs/cgroup"
    if not os.path.ismount(os.path.join(base, "unified")):
        return
    hierarchies = [h for h in os.listdir(base)
                   if h != "unified" and os.path.ismount(os.path.join(base, h))]
    aside = tempfile.mkdtemp()
    subprocess.run(["mount", "--move", base, aside], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "bench", base], check=True)
    for hierarchy in hierarchies:
        os.mkdir(os.path.join(base, hierarchy))
        subprocess.run(["mount", "--bind", os.path.join(aside, hierarchy),
                        os.path.join(base, hierarchy)], check=True)
    subprocess.run(["umount", "--lazy", aside], check=True)
    os.rmdir(aside)


def remove_cgroups():
    """Ours only: the folder above is shared with every sandboxd of this host."""
    base = "/sys/fs/cgroup"
    for hierarchy in [base] + [e.path for e in os.scandir(base) if os.path.ismount(e.path)]:
        top = hierarchy + CGROUP
        for folder, _, _ in os.walk(top, topdown=False):
            os.rmdir(folder)


def interleave(runners, operation, argv, count):
    able = [r for r in runners if getattr(r, operation)]
    samples = {r.name: [] for r in able}
    for turn in range(count + WARM_UP):
        for runner in able:
            sample = getattr(runner, operation)(argv)
            if turn >= WARM_UP:
                samples[runner.name].append(sample)
    return samples


def p99(values):
    """Nearest rank: of fewer than 100 values it is the largest."""
    ordered = sorted(values)
    return ordered[-(-99 * len(ordered) // 100) - 1]


def milliseconds(nanoseconds):
    return f"{nanoseconds / 1e6:.2f}"


def ratio(value, ours):
    return "1" if value == ours else f"{value / ours:.2f}"


def row(*cells):
    print("| " + " | ".join(cells) + " |")


def table(title, note, samples, key):
    print(f"\n### {title}\n\n{note}\n")
    row("who", "n", "median ms", "p99 ms", "median / ours")
    row("---", "---:", "---:", "---:", "---:")
    ours = statistics.median(s[key] for s in samples["crownest"])
    for name, taken in samples.items():
        values = [s[key] for s in taken]
        middle = statistics.median(values)
        row(name, str(len(values)), milliseconds(middle), milliseconds(p99(values)),
            ratio(middle, ours))


def print_create(samples):
    table("create", "A new sandbox, `true` run in it to its exit, and everything removed again.",
          samples, "total")
    taken = [s["exited"] for s in samples["crownest"]]
    print(f"\nOurs until the exit of `true` was known, before the kill: median "
          f"{milliseconds(statistics.median(taken))} ms, p99 {milliseconds(p99(taken))} ms.")


def print_exec(samples):
    table("exec", "`true` in a living sandbox, until its exit is known. bwrap cannot do this.",
          samples, "exited")


def print_stream(samples):
    size = samples["crownest"][0]["bytes"] >> 20
    table("stream: first byte",
          f"{size} MiB of zeros from a living sandbox; bwrap makes one each time. Ours also writes "
          "every byte to the command's log before anybody sees it.", samples, "first")
    print("\n### stream: throughput\n")
    row("who", "n", "median MiB/s", "lowest MiB/s", "median / ours")
    row("---", "---:", "---:", "---:", "---:")
    rates = {name: [s["bytes"] / (1 << 20) / (s["exited"] / 1e9) for s in taken]
             for name, taken in samples.items()}
    ours = statistics.median(rates["crownest"])
    for name, values in rates.items():
        middle = statistics.median(values)
        row(name, str(len(values)), f"{middle:.0f}", f"{min(values):.0f}", ratio(middle, ours))


def version(program):
    done = subprocess.run([program, "--version"], stdout=subprocess.PIPE, encoding="utf-8",
                          check=True)
    return done.stdout.splitlines()[0]


def describe(peers):
    print(f"## Linux {platform.release()}, {os.cpu_count()} CPUs, "
          f"load {os.getloadavg()[0]:.1f}" + "".join(f", {version(p)}" for p in peers))


def parse():
    parser = argparse.ArgumentParser(prog="bench", allow_abbrev=False)
    parser.add_argument("operations", nargs="*", metavar="create|exec|stream")
    parser.add_argument("--peers", action="store_true", help="measure crun, bwrap and runc as well")
    parser.add_argument("--json", action="store_true", help="print every measurement, in ns")
    parser.add_argument("--count", type=int, default=200, help="measurements of create and exec")
    parser.add_argument("--streams", type=int, default=20, help="measurements of stream")
    parser.add_argument("--mib", type=int, default=64, help="size of one stream")
    parser.add_argument("--programs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--image", required=True, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for operation in given.operations:
        if operation not in OPERATIONS:
            parser.error(f"no operation {operation}; there are: {' '.join(OPERATIONS)}")
    if min(given.count, given.streams, given.mib) < 1:
        parser.error("numbers must be 1 or more")
    given.operations = given.operations or list(OPERATIONS)
    return given


def runners(given, folder):
    spawn = Worker(os.path.join(given.programs, "spawn"))
    client = Worker(os.path.join(given.programs, "client"))
    found = [Ours("crownest", client, "base")]
    workers = [spawn, client]
    if "CROWNEST_AGAINST_URL" in os.environ:
        other = Worker(os.path.join(given.programs, "client"),
                       CROWNEST_URL=os.environ["CROWNEST_AGAINST_URL"],
                       CROWNEST_API_KEY=os.environ["CROWNEST_AGAINST_API_KEY"])
        found.append(Ours("the other checkout", other, "base"))
        workers.append(other)
    if given.peers:
        root = os.path.join(folder, "root")
        os.mkdir(root)
        subprocess.run(["mount", "-t", "erofs", "-o", "ro", given.image, root], check=True)
        prepare_cgroups()
        found += [Oci("crun", spawn, root, folder), Bwrap(spawn, root),
                  Oci("runc", spawn, root, folder)]
    return found, workers


def measure(given, found):
    results = {}
    for operation in given.operations:
        stream = operation == "stream"
        argv = ("/usr/bin/head", "-c", str(given.mib << 20), "/dev/zero") if stream else \
            ("/bin/true",)
        results[operation] = interleave(found, operation, argv,
                                        given.streams if stream else given.count)
    return results


def main():
    given = parse()
    folder = tempfile.mkdtemp(prefix="bench.", dir="/var/tmp")
    started = []
    try:
        found, workers = runners(given, folder)
        for runner in found:
            runner.start()
            started.append(runner)
        results = measure(given, found)
    finally:
        for runner in started:
            runner.stop()
        if given.peers:
            subprocess.run(["umount", os.path.join(folder, "root")], check=False)
            remove_cgroups()
        shutil.rmtree(folder)
    for worker in workers:
        worker.close()
    if given.json:
        json.dump(results, sys.stdout)
        print()
        return
    describe(["crun", "bwrap", "runc"] if given.peers else [])
    printers = {"create": print_create, "exec": print_exec, "stream": print_stream}
    for operation, samples in results.items():
        printers[operation](samples)


if __name__ == "__main__":
    main()
