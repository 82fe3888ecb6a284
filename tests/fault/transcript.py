"""What a stream of a command's events told, put together across however many streams it took."""

import time

STDOUT, STDERR = 1, 2


class Transcript:
    """offset: of the next byte. problems: what no stream of a log may ever show."""

    def __init__(self):
        self.offset = 0
        self.parts = {STDOUT: [], STDERR: []}
        self.pieces = []  # (offset, data) in the order of the log
        self.command_id = ""
        self.exited = None
        self.gaps = []
        self.problems = []

    def add(self, event, history, begin):
        kind = event.WhichOneof("event")
        if self.exited is not None:
            self.problems.append(f"{kind} after exited")
        if kind == "started":
            self.command_id = event.started.command.command_id
            history.see_command(begin, event.started.command)
        elif kind == "output":
            self._move(event.output.offset, len(event.output.data))
            self.parts[event.output.stream].append(event.output.data)
            self.pieces.append((event.output.offset, event.output.data))
        elif kind == "gap":
            self._move(event.gap.from_offset, event.gap.to_offset - event.gap.from_offset)
            self.gaps.append(event.gap)
        elif kind == "exited":
            self.exited = event.exited
            self.command_id = event.exited.command.command_id
            history.see_command(begin, event.exited.command)

    def _move(self, offset, size):
        if offset != self.offset:
            self.problems.append(f"offset {offset} after {self.offset}")
        self.offset = offset + size

    def read(self, events, history):
        """What comes late was perhaps said early: as early as when it was asked for."""
        begin = time.time()
        for message in events:
            self.add(message.event, history, begin)

    def text(self, stream):
        return b"".join(self.parts[stream])
