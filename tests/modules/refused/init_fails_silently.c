/* Says no, and not why. */
#include "module.h"

static int32_t init(const init_args *given, instance_out *out) {
    (void)given;
    (void)out;
    return FAILED;
}

DESCRIPTOR(only);
ENTRY(.init = init)
