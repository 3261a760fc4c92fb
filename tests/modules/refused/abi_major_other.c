/* Built for an ABI to come. */
#include "module.h"

DESCRIPTOR(only, .abi_major = 2);
ENTRY()
