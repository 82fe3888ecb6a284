/*
 * The commands of this sandbox: the table, and the life of each from spawn to acknowledgement.
 *
 * The pipes' read ends are kept here until then, so that a server that dies costs a command neither
 * its output nor a SIGPIPE.
 */
#pragma once

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "sandboxd/init/nest.h"

void command_init(void);

/* NEST_SPAWN to NEST_RESIZE: each answers by itself. */
void command_spawn(struct nest_message *message);
void command_attach(struct nest_message *message);
void command_input(struct nest_message *message);
void command_resize(struct nest_message *message);
void command_signal(struct nest_message *message);
void command_kill(struct nest_message *message);
void command_ack(struct nest_message *message);

/* A child of ours was reaped. Returns whether it was a command's first process, or its relay. */
int command_on_reaped(pid_t pid, int status, const struct rusage *usage);

/* Whether it is a relay, or has not become a command yet. */
bool command_waits_for(pid_t pid);

/* After a batch of reaping: sends the exits of commands of which nothing is left. */
void command_finish_ending(void);

/* A watched descriptor of a command is ready; number as given to nest_watch. */
void command_on_event(uint64_t number);

/* The peer has said hello: it is told of every exit that was not acknowledged, and of later ones.
 */
void command_tell_again(void);

/* There is another peer: nothing is owed to the one before. */
void command_forget_peer(void);

/* The peer reads again: sends what could not be sent. Returns whether something is still due. */
int command_flush(void);

/* Nothing is waiting to be answered: gets ready for the next command. */
void command_idle(void);
