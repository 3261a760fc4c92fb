/* Two modules in one library, as when a module depends on a module. */
#include "module.h"

DESCRIPTOR(own);
DESCRIPTOR(of_a_dependency, .name = "other");
ENTRY()
