/* A descriptor of an SDK that knew fewer fields. */
#include "module.h"

DESCRIPTOR(only, .len = 40);
ENTRY()
