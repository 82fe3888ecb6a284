"""
What commands run: shell lines that leave one line in the sandbox for each time they were run, and
write output that can be told from its first to its last byte.
"""

import dataclasses
import hashlib

EFFECTS = "/workspace/effects"


@dataclasses.dataclass
class Program:
    line: str
    stdout: bytes = b""
    stderr: bytes = b""
    code: int = 0
    signal: int = 0
    endless: bool = False  # it ends by a cancel, a timeout or the end of its input
    collect: str = ""  # a file that becomes an artifact
    digest: str = ""
    starved: bool = False  # the kernel may kill it for want of memory
    timeout_s: float = 0


def _numbered(tag, count, stream=""):
    return b"".join(f"{tag}{stream} {i} {i * 7919 % 10007}\n".encode() for i in range(1, count + 1))


def count(random, tag):
    """Slowly, so that crashes come in the middle."""
    lines, code = random.randint(5, 60), random.randint(0, 3)
    line = (f'i=0; while [ $i -lt {lines} ]; do i=$((i+1)); '
            f'echo "{tag} $i $((i*7919%10007))"; sleep 0.005; done; exit {code}')
    return Program(line, stdout=_numbered(tag, lines), code=code)


def both(random, tag):
    lines = random.randint(5, 200)
    line = (f'i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo "{tag}o $i $((i*7919%10007))"; '
            f'echo "{tag}e $i $((i*7919%10007))" >&2; done')
    return Program(line, stdout=_numbered(tag, lines, "o"), stderr=_numbered(tag, lines, "e"))


def burst(random, tag):
    """More than a pipe holds."""
    lines = random.randint(1000, 60000)
    text = b"".join(f"{tag} {i}\n".encode() for i in range(1, lines + 1))
    return Program(f'seq -f "{tag} %.0f" 1 {lines}', stdout=text)


def waves(random, tag):
    """Much at a time, with rests."""
    lines = random.randint(500, 4000)
    text = b"".join(f"{tag} {i}\n".encode() for i in range(1, lines + 1))
    return Program(f'for k in 1 2 3 4 5 6; do seq -f "{tag} %.0f" 1 {lines}; sleep 0.05; done',
                   stdout=text * 6)


def term(random, tag):
    signal = random.choice((9, 15))
    return Program(f"echo {tag}; kill -{signal} $$", stdout=f"{tag}\n".encode(), signal=signal)


def make(random, tag):
    size = random.choice((0, 1, 5000, 300_000, 1_500_000))
    content = tag[-1].encode() * size
    return Program(f"head -c {size} /dev/zero | tr '\\0' '{tag[-1]}' > {tag}.out; echo {tag}",
                   stdout=f"{tag}\n".encode(), collect=f"{tag}.out",
                   digest="sha256:" + hashlib.sha256(content).hexdigest())


def brief(random, tag):
    return Program(f"echo {tag}", stdout=f"{tag}\n".encode())


def late(random, tag):
    """Is over its time."""
    return Program(f"echo {tag}; sleep 1000", stdout=f"{tag}\n".encode(), endless=True,
                   timeout_s=random.choice((0.2, 0.6, 1.5)))


def starve(random, tag):
    """Fills its memory, and leaves out what the shell says about that."""
    return Program(f"echo {tag}; exec 2>/dev/null; "
                   "head -c 1500m /dev/zero | tail -c 1400m >/dev/null",
                   stdout=f"{tag}\n".encode(), signal=9, starved=True)


def cat(random, tag):
    return Program("cat", endless=True)


def sleep(random, tag):
    return Program(f"echo {tag}; sleep 1000", stdout=f"{tag}\n".encode(), endless=True)


FINITE = (count, count, both, burst, waves, term, make, brief, brief, late)


def shell(program, tag):
    """The line with its effect, which is one write to the end of a file."""
    return f"echo {tag} >> {EFFECTS}; {program.line}"
