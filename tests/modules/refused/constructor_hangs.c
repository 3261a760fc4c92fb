/* A constructor that does not return until it is let. */
#include "module.h"

__attribute__((constructor)) static void hang(void) { wait_for_release("the constructor"); }

DESCRIPTOR(only);
ENTRY()
