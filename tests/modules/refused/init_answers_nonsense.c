/* Answers what is no status. */
#include "module.h"

static int32_t init(const init_args *given, instance_out *out) {
    (void)given;
    (void)out;
    return 77;
}

DESCRIPTOR(only);
ENTRY(.init = init)
