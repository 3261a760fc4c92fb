/* Says no, and why. */
#include "module.h"

static int32_t init(const init_args *given, instance_out *out) {
    (void)given;
    (void)out;
    host->fail(text("the model's file is missing: set `model` to its path"));
    return FAILED;
}

DESCRIPTOR(only);
ENTRY(.init = init)
