/* A note of the right name with something else in it. */
#include "module.h"

DESCRIPTOR(only, .magic = {'M', 'I', 'D', 'P', 'L', 'A', 'N', 'T'});
ENTRY()
