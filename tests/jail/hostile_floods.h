/*
 * Sandboxes that take all they can get, one perl script each: for hostile_flood_test.c, which wants
 * them bounded and killed, and for neighbour_bench.c, which measures what a neighbour feels.
 */
#pragma once

#include <stdint.h>

#include "sandboxd/init/wire.h"

/* Each says "ready" when it is in full swing, and never ends by itself. */
static const struct flood {
    const char *name;
    uint32_t user;
    const char *script; /* of perl; $r->() says so */
} FLOODS[] = {
    {"fork bomb", NEST_USER, "$r->(); while (1) { fork }"},
    {"fork bomb of root", NEST_ROOT, "$r->(); while (1) { fork }"},
    {"zombie flood", NEST_USER,
     "for (1..1e6) { $p = fork; exit if defined $p && !$p; $r->() if !defined $p }"},
    {"orphan flood", NEST_USER,
     "$r->(); while (1) { if (defined($p = fork) && !$p) { fork; exit } wait }"},
    {"memory bomb", NEST_USER,
     "$r->(); while (1) { if (defined($p = fork) && !$p) { @x = map { 'x' x 1e6 } 1..1e6; exit } "
     "wait }"},
    {"shared memory bomb", NEST_USER,
     "open F, '>/dev/shm/x'; $r->(); while (1) { syswrite(F, 'x' x 1e5) or truncate(F, 0), "
     "sysseek(F, 0, 0) }"},
    {"disk fill", NEST_USER,
     "open F, '>/tmp/x'; 1 while syswrite(F, 'x' x 1e5); $r->(); while (1) { open G, '>/tmp/y'; "
     "syswrite(G, 'x') }"},
    {"inode fill", NEST_USER,
     "mkdir '/tmp/i'; $i = 0; $i++ while open F, \">/tmp/i/$i\"; $r->(); "
     "while (1) { open F, '>/tmp/i/more' }"},
    {"descriptor flood", NEST_USER,
     "while (open my $f, '</dev/null') { push @f, $f } $r->(); while (1) { open my $f, "
     "'</dev/null' }"},
    {"socket flood", NEST_USER,
     "use Socket; while (socket(my $f, AF_INET, SOCK_STREAM, 0)) { push @f, $f } $r->(); "
     "while (1) { socket(my $f, AF_INET, SOCK_STREAM, 0) }"},
    {"pipe buffer flood", NEST_USER,
     "use Fcntl; while (pipe(my $a, my $b)) { fcntl($b, 1031, 1 << 20); fcntl($b, F_SETFL, "
     "O_NONBLOCK); syswrite($b, 'x' x 65536); push @f, $a, $b } $r->(); sleep 1e6"},
    {"terminal flood", NEST_USER,
     "while (open my $f, '+<', '/dev/ptmx') { push @f, $f } $r->(); while (1) { open my $f, '+<', "
     "'/dev/ptmx' }"},
    {"log flood", NEST_USER, "$r->(); while (1) { syswrite(STDOUT, 'x' x 65536) }"},
    {"deep directories", NEST_USER,
     "$r->(); chdir '/tmp'; while (1) { mkdir 'd'; chdir 'd' or chdir '/tmp' }"},
    {"long names", NEST_USER,
     "$r->(); while (1) { $n = 'n' x 250 . $i++; open F, \">/tmp/$n\" or unlink glob '/tmp/n*' }"},
    {"rename storm", NEST_USER,
     "mkdir '/tmp/a'; $r->(); while (1) { rename '/tmp/a', '/tmp/b'; rename '/tmp/b', '/tmp/a' }"},
    {"signal storm", NEST_USER,
     "$SIG{USR1} = 'IGNORE'; fork; fork; fork; $r->(); while (1) { kill 'USR1', -getpgrp }"},
    {"signal storm on init", NEST_ROOT, "$r->(); while (1) { kill 'CHLD', 1; kill 'TERM', 1 }"},
    {"busy loops", NEST_USER, "fork for 1..4; $r->(); 1 while 1"},
    {"sync storm", NEST_USER,
     "$r->(); while (1) { open F, '>/tmp/s'; syswrite(F, 'x'); syscall(162) }"},
    {"connections to itself", NEST_USER,
     "use Socket; socket(S, AF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(7000, INADDR_LOOPBACK)); "
     "listen(S, 4096); $r->(); while (1) { socket(my $c, AF_INET, SOCK_STREAM, 0); connect($c, "
     "sockaddr_in(7000, INADDR_LOOPBACK)) }"},
    {"message queue flood", NEST_USER,
     "$r->(); $i = 0; $i++ while defined msgget($i + 1, 0600 | 01000) && $i < 1e5"},
    {"semaphore flood", NEST_USER,
     "$r->(); $i = 0; $i++ while defined semget($i + 1, 250, 0600 | 01000) && $i < 1e5"},
    {"watch flood", NEST_USER,
     "$f = syscall(294, 0); for (1..1e5) { mkdir \"/tmp/w$_\" or last; last if syscall(254, $f, "
     "\"/tmp/w$_\", 0xfff) < 0 } $r->(); sleep 1e6"},
    {"timer flood", NEST_USER,
     "$b = pack('q', 0); for (1..1e5) { last if syscall(222, 1, 0, $b) < 0 } $r->(); sleep 1e6"},
};
