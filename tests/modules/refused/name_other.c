/* Another module than the one that is configured. */
#include "module.h"

DESCRIPTOR(only, .name = "other");
ENTRY()
