/* Needs a function that nothing defines. */
#include "module.h"

extern int nowhere_defined(void);
int (*needs_it)(void) = nowhere_defined;

DESCRIPTOR(only);
ENTRY()
