/* What a host must have, and what weakens isolation on it. */
#pragma once

/* Prints one line for each finding, with its remedy. Returns how many make sandboxes impossible. */
int host_check_print(void);
