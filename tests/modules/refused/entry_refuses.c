/* An entry that will have nothing to do with this kernel. */
#include "module.h"

DESCRIPTOR(only);

int32_t midplane_module_entry(const host_table *table, module_table *out) {
    host = table;
    (void)out;
    (void)well_init, (void)well_begin, (void)well_poll, (void)well_drop, (void)well_fini;
    return INVALID;
}
