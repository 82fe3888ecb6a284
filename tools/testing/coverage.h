/* How a nest-init that is measured gets the file that it counts in. */
#pragma once

/* Above all that nest-init gets, and below every limit that a sandbox may have. */
#define COVERAGE_FD 60
