/* A library that is no module. */
#include "module.h"

ENTRY()
