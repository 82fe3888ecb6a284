/* What the server asks on the control socket: one message at a time, checked against a table. */
#pragma once

/* Takes one message, if there is one, and answers or begins it. -ECONNRESET: the peer is gone. */
int request_handle(void);
