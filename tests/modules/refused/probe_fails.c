/* It is there, and cannot serve. */
#include "module.h"
DESCRIPTOR(only);
static int32_t fail(void *instance) {
    (void)instance;
    host->fail(text("the model is gone"));
    return FAILED;
}
ENTRY(.probe = fail)
