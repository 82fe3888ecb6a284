"""One seed from its first process to its last: the service, its clients, and what breaks it."""

import dataclasses
import os
import signal
import threading
import time
import traceback

import audit
import host
import points
from checker import Checker
from client import Client
from contract import Stubs, sandbox
from history import History
from once import Once
from service import NAMES, Service

TICK_S = 0.005
ROUND_S = 60
START_TRIES = 5
SHORT_LIFE_S = 8


@dataclasses.dataclass
class Found:
    """What the audit read at the end."""

    sandboxes: dict
    commands: dict
    logs: dict
    artifacts: list
    digests: dict
    previews: list
    export: str
    receipts: dict
    usage_problem: str
    effects: dict
    workspaces: dict
    audit_time: float
    filled: bool = False
    log_may_fail: bool = False
    clock_jumped: bool = False
    artifacts_may_fail: bool = False


class Scenario:
    def __init__(self, plan, programs, templates, broken=None):
        self.plan = plan
        self.history = History()
        self.known = set(host.groups())
        self.service = Service(programs, templates, plan.pool, plan.small_disk, broken)
        self.filled = False
        self.revive_at = {}  # name -> when
        self.next_failpoints = {name: () for name in NAMES}
        self.failed_starts = 0
        self.secret = None
        self.clients = []
        self.effects = {}
        self.workspaces = {}
        self.audit_time = 0.0
        self.fired = []
        self.logs = []

    def run(self):
        """The violations."""
        try:
            self._phases()
        except Exception as error:  # pylint: disable=broad-except
            self._failed(error)
        finally:
            self.history.over = True
            self.fired = self.service.fired()
            self.logs = self.service.logs()
            for client in self.clients:
                client.close()
            self.service.remove()
            host.sweep(set(host.groups()) - self.known)
        return self.history.violations

    def _phases(self):
        self._bring_back_all((), ())
        self.secret = self.service.mint()
        self._rearm(("crownestd",), (self.plan.once_create,), ())
        self._once()
        self._rearm(NAMES, self.plan.first_server, self.plan.first_sandboxd)
        self._mixed()
        if self.history.hopeless:
            return
        found = self._audit()
        self._end()
        if found is not None:
            Checker(self.history, self.service, found).check()

    # --- the service, brought back whenever it dies ---

    def _start(self, name):
        failpoints, self.next_failpoints[name] = self.next_failpoints[name], ()
        self.history.fault("start", f"{name} {','.join(failpoints)}")
        if self.service.start(name, failpoints):
            self.failed_starts = 0
            return
        self.history.say("fault", f"{name} did not come to serve")
        self.failed_starts += 0 if failpoints else 1
        self.revive_at[name] = time.time()
        if self.failed_starts >= START_TRIES:
            raise RuntimeError(f"{name} does not start any more")

    def _tick(self):
        """Notices who has died, and brings back who is due, sandboxd first."""
        for name, status in self.service.collect_dead().items():
            self.history.fault("died", f"{name} {status}")
            self.revive_at.setdefault(name, time.time())
            # RocksDB ends the process that cannot write what it must.
            if status != -signal.SIGKILL and not (self.filled and status == -signal.SIGABRT):
                self.history.violation(f"{name} ended by itself with {status}")
        if self.service.writes_no_more():
            self.history.fault("restart", "crownestd")
            self.service.kill("crownestd")
        for name in NAMES:
            if name in self.service.running:
                self.revive_at.pop(name, None)
            elif self.revive_at.get(name, 0) <= time.time():
                if name == "crownestd" and "sandboxd" not in self.service.running:
                    return
                self.revive_at.pop(name, None)
                self._start(name)

    def _await_service(self):
        while len(self.service.running) < len(NAMES):
            self._tick()
            time.sleep(TICK_S)

    def _bring_back_all(self, server, sandboxd):
        self.next_failpoints = {"crownestd": server, "sandboxd": sandboxd}
        self._await_service()

    def _rearm(self, names, server, sandboxd, down_ms=0):
        """Kills them, and has them come back with other failpoints."""
        self.next_failpoints = {"crownestd": server if "crownestd" in names else (),
                                "sandboxd": sandboxd if "sandboxd" in names else ()}
        for name in names:
            self.history.fault("kill", name)
            self.service.kill(name)
            self.revive_at[name] = time.time() + down_ms / 1000

    def _attend(self, threads, faults=()):
        """Until the threads have ended; the faults come at their times."""
        begin = time.time()
        due = list(faults)
        while any(thread.is_alive() for thread in threads) or due:
            if due and time.time() >= begin + due[0].at_ms / 1000:
                self._break(due.pop(0))
            self._tick()
            if time.time() > begin + ROUND_S:
                self.history.violation("the clients do not come to an end")
                raise TimeoutError("nobody waits any longer")
            time.sleep(TICK_S)
        self._await_service()

    # --- faults ---

    def _break(self, fault):
        if fault.kind == "kill":
            self._rearm(fault.names, fault.server, fault.sandboxd, fault.length_ms)
        elif fault.kind == "freeze":
            self.history.fault("freeze", f"{fault.names[0]} {fault.length_ms} ms")
            with self.service.stopped(fault.names[0]):
                time.sleep(fault.length_ms / 1000)
        elif fault.kind == "init":
            self._kill_init(fault.number)
        elif fault.kind == "storm":
            self._storm(fault.number)
        elif fault.kind == "fill":
            self._fill(fault)
        elif fault.kind == "tear":
            self._rearm(("crownestd",), fault.server, ())
            self.service.tear_log(fault.number)

    def _kill_init(self, number):
        inits = sorted(host.inventory(self.service.dir / "run").items())
        inits = [(name, pid) for name, pid in inits if pid]
        if inits:
            name, pid = inits[number % len(inits)]
            self.history.fault("init", f"{name} {pid}")
            os.kill(pid, signal.SIGKILL)

    def _storm(self, count):
        """Signals that mean nothing to them."""
        self.history.fault("storm", f"{count} signals")
        for _ in range(count):
            for process in self.service.running.values():
                for number in (signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT, signal.SIGURG):
                    process.send_signal(number)

    def _fill(self, fault):
        """A full disk is served again by whoever comes when there is room."""
        self.filled = True
        self.history.fault("fill", f"{fault.length_ms} ms")
        self.service.fill_disk()
        time.sleep(fault.length_ms / 1000)
        self.service.free_disk()
        self._rearm(("crownestd",), fault.server, ())

    # --- phases ---

    def _once(self):
        once = Once(self.service.target, self.secret, self.history, self._attend)
        once.create()
        once.fill_house(self.plan.crowd)
        self._rearm(("crownestd",), (self.plan.once_run,), ())
        once.run()
        once.close()

    def _mixed(self):
        self.clients = [Client(number, self.service.target, self.secret, self.history, "mixed")
                        for number in range(len(self.plan.rounds[0].scripts))]
        for number, turn in enumerate(self.plan.rounds):
            self.history.say("round", str(number))
            threads = [threading.Thread(target=client.run_script, args=(script,))
                       for client, script in zip(self.clients, turn.scripts)]
            for thread in threads:
                thread.start()
            self._attend(threads, turn.faults)
            if self.history.hopeless:
                break
            look = threading.Thread(target=self._look, args=(self._between_rounds,))
            look.start()
            self._attend([look])

    def _look(self, what):
        """Does what needs an audit; what goes wrong with it is a violation, too."""
        stubs = Stubs(self.service.target, self.secret)
        try:
            return what(audit.Audit(stubs, self.service, self.history))
        except Exception as error:  # pylint: disable=broad-except
            self._failed(error)
            return None
        finally:
            stubs.close()

    def _failed(self, error):
        self.history.violation(f"{type(error).__name__}: {error}")
        self.history.say("harness", "".join(traceback.format_exception(error)))

    def _between_rounds(self, look):
        """Everything is back: the host is as the records say, and what runs can be used."""
        look.await_agreement(self.known)
        for sandbox_id, message in look.sandboxes().items():
            if self.history.hopeless:
                return
            lasts = message.expire_time.seconds > time.time() + SHORT_LIFE_S
            if message.state == sandbox.SANDBOX_STATE_RUNNING and lasts:
                look.probe(sandbox_id)

    def _look_inside(self, look):
        """At what still runs; half of it is ended by us, and the rest with the service."""
        self._await_short_lives(look)
        running = [sandbox_id for sandbox_id, message in look.sandboxes().items()
                   if message.state == sandbox.SANDBOX_STATE_RUNNING]
        self.effects = {sandbox_id: look.effects(sandbox_id) for sandbox_id in running}
        self.workspaces = {sandbox_id: look.workspace(sandbox_id) for sandbox_id in running}
        self.audit_time = time.time()
        for sandbox_id in running[::2]:
            look.kill(sandbox_id)

    def _audit(self):
        """Without failpoints, and once more by a service that has to read it all from its disk."""
        self._rearm(NAMES, (), ())
        self._await_service()
        self._look(self._look_inside)
        self._stop("crownestd")
        self._bring_back_all((), ())
        # Now that every sandbox has ended, the last reader has an end to wait for.
        self._attend([thread for client in self.clients for thread in client.threads])
        return self._look(self._read_all)

    def _await_short_lives(self, look):
        """Until those whose time is up have ended, or should have."""
        deadline = time.time() + SHORT_LIFE_S
        while time.time() < deadline:
            short = [message for message in look.sandboxes().values()
                     if message.state in audit.LIVING
                     and message.expire_time.seconds < time.time() + SHORT_LIFE_S]
            if not short:
                return
            time.sleep(0.1)

    def _read_all(self, look):
        look.await_agreement(self.known)
        sandboxes = look.sandboxes()
        commands = {}
        for sandbox_id in sandboxes:
            commands.update(look.commands(sandbox_id))
        artifacts = look.artifacts()
        fired = set(self.service.fired())
        return Found(
            sandboxes=sandboxes, commands=commands, effects=self.effects,
            workspaces=self.workspaces, audit_time=self.audit_time,
            logs={command_id: look.log(command_id) for command_id in commands},
            artifacts=artifacts, previews=look.previews(), export=self.service.export(),
            receipts={sandbox_id: look.receipt(sandbox_id) for sandbox_id in sandboxes},
            usage_problem=look.usage_problem(),
            digests={one.artifact_id: look.content_digest(one.artifact_id) for one in artifacts},
            filled=self.filled, clock_jumped=points.CLOCK in fired,
            artifacts_may_fail=self.filled or "artifact.copy" in fired,
            log_may_fail=self.filled or bool(fired & {"log.write", "log.move"}))

    def _stop(self, name):
        if not self.service.stop(name):
            self.history.violation(f"{name} does not stop well")

    def _end(self):
        """Nothing is left of anything, and each process ends as it should."""
        self._stop("crownestd")
        left = host.inventory(self.service.dir / "run")
        if left:
            self.history.violation(f"sandboxd still has {sorted(left)}")
        self._stop("sandboxd")
        for sandbox_id, paths in host.groups().items():
            if sandbox_id not in self.known:
                self.history.violation(f"{sandbox_id} has left {paths}")
        for text in host.mounts_below(self.service.dir / "run") + \
                host.sockets_below(self.service.dir):
            self.history.violation(f"left behind: {text}")
        unfinished = list((self.service.dir / "server/data/blobs/tmp").iterdir())
        if unfinished:
            self.history.violation(f"parts of artifacts: {unfinished}")
