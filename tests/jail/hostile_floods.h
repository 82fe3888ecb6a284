/*
 * Sandboxes that take all they can get, one perl script each: for hostile_flood_test.c, which wants
 * them bounded and killed, and for neighbour_bench.c, which measures what a neighbour feels.
 */
#pragma once

#include <stdint.h>

#include "sandboxd/init/wire.h"

#define FLOOD(name, user, script)                                                                  \
    {                                                                                              \
        name, user, script, 0                                                                      \
    }
#define TERMINAL_FLOOD(name, script)                                                               \
    {                                                                                              \
        name, NEST_USER, script, NEST_TERMINAL                                                     \
    }

/* Each says "ready" when it is in full swing, and never ends by itself. */
static const struct flood {
    const char *name;
    uint32_t user;
    const char *script; /* of perl; $r->() says so */
    uint32_t flags;     /* enum nest_spawn_flag */
} FLOODS[] = {
    FLOOD("fork bomb", NEST_USER, "$r->(); while (1) { fork }"),
    FLOOD("fork bomb of root", NEST_ROOT, "$r->(); while (1) { fork }"),
    FLOOD("zombie flood", NEST_USER,
          "for (1..1e6) { $p = fork; exit if defined $p && !$p; $r->() if !defined $p }"),
    FLOOD("orphan flood", NEST_USER,
          "$r->(); while (1) { if (defined($p = fork) && !$p) { fork; exit } wait }"),
    FLOOD("memory bomb", NEST_USER,
          "$r->(); while (1) { if (defined($p = fork) && !$p) { @x = map { 'x' x 1e6 } 1..1e6; "
          "exit } "
          "wait }"),
    FLOOD("shared memory bomb", NEST_USER,
          "open F, '>/dev/shm/x'; $r->(); while (1) { syswrite(F, 'x' x 1e5) or truncate(F, 0), "
          "sysseek(F, 0, 0) }"),
    FLOOD(
        "disk fill", NEST_USER,
        "open F, '>/tmp/x'; 1 while syswrite(F, 'x' x 1e5); $r->(); while (1) { open G, '>/tmp/y'; "
        "syswrite(G, 'x') }"),
    FLOOD("inode fill", NEST_USER,
          "mkdir '/tmp/i'; $i = 0; $i++ while open F, \">/tmp/i/$i\"; $r->(); "
          "while (1) { open F, '>/tmp/i/more' }"),
    FLOOD("descriptor flood", NEST_USER,
          "while (open my $f, '</dev/null') { push @f, $f } $r->(); while (1) { open my $f, "
          "'</dev/null' }"),
    FLOOD("socket flood", NEST_USER,
          "use Socket; while (socket(my $f, AF_INET, SOCK_STREAM, 0)) { push @f, $f } $r->(); "
          "while (1) { socket(my $f, AF_INET, SOCK_STREAM, 0) }"),
    FLOOD("pipe buffer flood", NEST_USER,
          "use Fcntl; while (pipe(my $a, my $b)) { fcntl($b, 1031, 1 << 20); fcntl($b, F_SETFL, "
          "O_NONBLOCK); syswrite($b, 'x' x 65536); push @f, $a, $b } $r->(); sleep 1e6"),
    FLOOD("terminal flood", NEST_USER,
          "while (open my $f, '+<', '/dev/ptmx') { push @f, $f } $r->(); while (1) { open my $f, "
          "'+<', "
          "'/dev/ptmx' }"),
    FLOOD("log flood", NEST_USER, "$r->(); while (1) { syswrite(STDOUT, 'x' x 65536) }"),
    FLOOD("deep directories", NEST_USER,
          "$r->(); chdir '/tmp'; while (1) { mkdir 'd'; chdir 'd' or chdir '/tmp' }"),
    FLOOD("long names", NEST_USER,
          "$r->(); while (1) { $n = 'n' x 250 . $i++; open F, \">/tmp/$n\" or unlink glob "
          "'/tmp/n*' }"),
    FLOOD("rename storm", NEST_USER,
          "mkdir '/tmp/a'; $r->(); while (1) { rename '/tmp/a', '/tmp/b'; rename '/tmp/b', "
          "'/tmp/a' }"),
    FLOOD("signal storm", NEST_USER,
          "$SIG{USR1} = 'IGNORE'; fork; fork; fork; $r->(); while (1) { kill 'USR1', -getpgrp }"),
    FLOOD("signal storm on init", NEST_ROOT,
          "$r->(); while (1) { kill 'CHLD', 1; kill 'TERM', 1 }"),
    FLOOD("busy loops", NEST_USER, "fork for 1..4; $r->(); 1 while 1"),
    FLOOD("sync storm", NEST_USER,
          "$r->(); while (1) { open F, '>/tmp/s'; syswrite(F, 'x'); syscall(162) }"),
    FLOOD(
        "connections to itself", NEST_USER,
        "use Socket; socket(S, AF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(7000, "
        "INADDR_LOOPBACK)); "
        "listen(S, 4096); $r->(); while (1) { socket(my $c, AF_INET, SOCK_STREAM, 0); connect($c, "
        "sockaddr_in(7000, INADDR_LOOPBACK)) }"),
    FLOOD("message queue flood", NEST_USER,
          "$r->(); $i = 0; $i++ while defined msgget($i + 1, 0600 | 01000) && $i < 1e5"),
    FLOOD("semaphore flood", NEST_USER,
          "$r->(); $i = 0; $i++ while defined semget($i + 1, 250, 0600 | 01000) && $i < 1e5"),
    FLOOD(
        "watch flood", NEST_USER,
        "$f = syscall(294, 0); for (1..1e5) { mkdir \"/tmp/w$_\" or last; last if syscall(254, $f, "
        "\"/tmp/w$_\", 0xfff) < 0 } $r->(); sleep 1e6"),
    FLOOD(
        "timer flood", NEST_USER,
        "$b = pack('q', 0); for (1..1e5) { last if syscall(222, 1, 0, $b) < 0 } $r->(); sleep 1e6"),
    TERMINAL_FLOOD("terminal output flood",
                   "system 'stty raw -echo'; $r->(); while (1) { syswrite(STDOUT, 'x' x 65536) }"),
    TERMINAL_FLOOD("terminal echo flood", "open T, '+<', '/dev/ptmx'; $r->(); while (1) { "
                                          "syswrite(T, \"x\\n\" x 500); sysread(T, $x, "
                                          "65536) }"),
    FLOOD("lookups of missing names", NEST_USER, "$r->(); while (1) { stat '/usr/x' . $i++ }"),
    FLOOD("readers of the template", NEST_USER,
          "fork; $r->(); while (1) { for (glob '/usr/bin/* /usr/lib/*/*') { open F, $_; 1 while "
          "sysread(F, $x, 1 << 20) } }"),
    FLOOD("sparse files", NEST_USER,
          "$r->(); while (1) { open F, '>/tmp/s'; truncate(F, 1 << 40); sysseek(F, $i++ << 30, 0); "
          "syswrite(F, 'x') }"),
    FLOOD("files made and removed", NEST_USER,
          "fork; $r->(); while (1) { open F, \">/tmp/f$$\"; close F; unlink \"/tmp/f$$\" }"),
    FLOOD("programs one after another", NEST_USER, "$r->(); while (1) { system '/bin/true' }"),
    FLOOD("shared memory segments", NEST_USER,
          "$r->(); while (1) { $i = shmget(0, 1 << 20, 0600); shmwrite($i, 'x' x (1 << 20), 0, 1 "
          "<< 20) "
          "if defined $i; shmctl($i, 0, 0) if defined $i }"),
    FLOOD(
        "descriptors in flight", NEST_USER,
        /* sendmsg of both ends of a pair through itself, which only the kernel's collector frees */
        "use Socket; $r->(); while (1) { socketpair(A, B, AF_UNIX, SOCK_DGRAM, 0); "
        "$c = pack('QiiiI', 24, 1, 1, fileno(A), fileno(B)); $d = 'x'; $v = pack('PQ', $d, 1); "
        "$m = pack('QQPQPQQ', 0, 0, $v, 1, $c, 24, 0); syscall(46, fileno(A), $m, 0) }"),
    FLOOD(
        "readers of /proc", NEST_USER,
        "fork; $r->(); while (1) { for (glob '/proc/self/* /proc/*') { open F, $_; sysread(F, $x, "
        "65536) } }"),
    FLOOD("barriers of memory", NEST_USER, "fork; $r->(); while (1) { syscall(324, 1, 0) }"),
    FLOOD("random bytes", NEST_USER,
          "fork; open F, '</dev/urandom'; $r->(); while (1) { sysread(F, $x, 1 << 20) }"),
    FLOOD("ping and pong", NEST_USER,
          "pipe(A, B); pipe(C, D); $b = 'x'; if (fork) { $r->(); while (1) { syswrite(B, 'x'); "
          "sysread(C, $b, 1) } } else { while (1) { sysread(A, $b, 1); syswrite(D, 'x') } }"),
    FLOOD("datagrams to itself", NEST_USER,
          "use Socket; socket(S, AF_INET, SOCK_DGRAM, 0); bind(S, sockaddr_in(7000, "
          "INADDR_LOOPBACK)); "
          "$r->(); while (1) { send(S, 'x' x 60000, 0, sockaddr_in(7000, INADDR_LOOPBACK)) }"),
};
