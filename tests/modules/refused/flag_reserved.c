/* Sets a bit that means nothing yet. */
#include "module.h"

DESCRIPTOR(only, .flags = 2);
ENTRY()
