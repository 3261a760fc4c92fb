/* A descriptor without the function that it promises. */
#include "module.h"

DESCRIPTOR(only);
__attribute__((unused)) static ENTRY()
