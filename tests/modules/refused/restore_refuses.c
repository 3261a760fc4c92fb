/* It does not take what is handed over, were it nothing. */
#include "module.h"
DESCRIPTOR(only, .state_schema_min = 1, .state_schema_max = 1);
static int32_t refuse(instance_out *instance, uint32_t schema, slice state) {
    (void)instance;
    (void)schema;
    (void)state;
    host->fail(text("there is no label in it"));
    return FAILED;
}
ENTRY(.restore = refuse)
