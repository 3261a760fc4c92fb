/* Needs a shared library, `libabsent.so`, that is there only while this is linked. */
#include "module.h"

DESCRIPTOR(only);
ENTRY()
