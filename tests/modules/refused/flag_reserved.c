/* Sets a bit that means nothing yet. */
#include "module.h"

DESCRIPTOR(only, .flags = 1);
ENTRY()
