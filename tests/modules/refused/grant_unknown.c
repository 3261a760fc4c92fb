/* Asks for something that this kernel does not know. */
#include "module.h"

DESCRIPTOR(only, .grants = 1u << 30);
ENTRY()
