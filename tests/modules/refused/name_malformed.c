/* A name that would not stand in a path. */
#include "module.h"

DESCRIPTOR(only, .name = "../Refused");
ENTRY()
