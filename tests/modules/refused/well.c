/* Nothing is wrong. */
#include "module.h"

DESCRIPTOR(only);
ENTRY()
