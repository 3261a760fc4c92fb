/* A table with a hole where the kernel would call. */
#include "module.h"

DESCRIPTOR(only);
ENTRY(.poll = NULL)
