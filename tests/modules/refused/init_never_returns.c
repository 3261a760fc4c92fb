/* An init that does not return until it is let, and then makes an instance that nobody wants any more. */
#include "module.h"

static int32_t init(const init_args *given, instance_out *out) {
    wait_for_release("init");
    return well_init(given, out);
}

static void fini(void *instance) {
    well_fini(instance);
    fprintf(stderr, "the late instance was ended\n");
}

DESCRIPTOR(only);
ENTRY(.init = init, .fini = fini)
