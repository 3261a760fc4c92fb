/* A constructor that takes the process with it. */
#include "module.h"

__attribute__((constructor)) static void crash(void) { abort(); }

DESCRIPTOR(only);
ENTRY()
