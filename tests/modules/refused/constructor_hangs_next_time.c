/* A constructor that returns in the process it is tried in, and hangs in the kernel's until it is let. */
#include "module.h"

__attribute__((constructor)) static void hang(void) {
    FILE *tried = fopen(TRIED, "wx");
    if (tried) {
        fclose(tried);
        return;
    }
    wait_for_release("the constructor");
}

static int32_t init(const init_args *given, instance_out *out) {
    fprintf(stderr, "init ran after all\n");
    return well_init(given, out);
}

DESCRIPTOR(only);
ENTRY(.init = init)
