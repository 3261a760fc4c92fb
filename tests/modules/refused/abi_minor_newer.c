/* Needs what this kernel does not have yet. */
#include "module.h"

DESCRIPTOR(only, .abi_minor = 700);
ENTRY()
