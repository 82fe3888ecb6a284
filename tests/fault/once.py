"""
Exactly once: many who ask for the same at the same time, with the same request_id, from a service
that is killed between doing it and answering. One sandbox, one run, and everybody gets its answer.
"""

import threading

import plan
import programs
from client import Client

ASKING = 64
CONNECTIONS = 8


def _together(count, work):
    barrier = threading.Barrier(count)

    def one(number):
        barrier.wait()
        work(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


class Once:
    """attend: keeps the service alive until the threads that it is given have ended."""

    def __init__(self, target, secret, history, attend):
        self.history = history
        self.attend = attend
        self.clients = [Client(number, target, secret, history, "once")
                        for number in range(CONNECTIONS)]
        self.make = plan.Step("create", "once", keyed=True, options={"ttl_s": 600})
        self.go = plan.Step("run", "onerun", sandbox="once", keyed=True,
                            program=programs.brief(None, "onerun"))

    def _everybody(self, step):
        def work(number):
            self.clients[number % CONNECTIONS].perform(step)

        self.attend(_together(ASKING, work))
        told = {client.ids.get(step.tag) for client in self.clients}
        if len(told) != 1 or None in told:
            self.history.violation(f"{ASKING} asked for one {step.kind}, and were told {told}")

    def create(self):
        self._everybody(self.make)

    def fill_house(self, count):
        """So many more sandboxes, each of its own."""
        steps = [plan.Step("create", f"crowd{number}", keyed=True,
                           options={"ttl_s": 600, "memory_mb": 48}) for number in range(count)]

        def work(number):
            for step in steps[number::CONNECTIONS]:
                self.clients[number].perform(step)

        self.attend(_together(CONNECTIONS, work))

    def run(self):
        self._everybody(self.go)
        whole = [transcript for transcript in self.history.records[self.go.tag].transcripts
                 if transcript.exited is not None]
        if len(whole) != ASKING:
            self.history.violation(f"{ASKING} ran one command, and {len(whole)} saw its end")

    def close(self):
        for client in self.clients:
            client.close()
