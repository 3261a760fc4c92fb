/* A whole module in plain C, of which every other file here spoils one thing; `well.c` spoils nothing.
 *
 * tests/rust/modules/refusals.rs compiles each to a library and has a kernel refuse it. What makes a file no library at all
 * (another kind, another machine, cut short) is made there from the bytes of `well.c`'s.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID = -3, FAILED = -4, PANICKED = -5 };

typedef struct { const void *ptr; size_t len; } slice;
typedef struct { uint32_t size, flags; uint64_t owner; slice name; uint64_t generation; slice config; } init_args;
typedef struct { uint32_t size, flags; void *ptr; } instance_out;
typedef struct {
    uint32_t size;
    uint16_t abi_major, abi_minor;
    uint64_t flags;
    int32_t (*init)(const init_args *, instance_out *);
    int32_t (*restore)(instance_out *, uint32_t, slice);
    int32_t (*probe)(void *);
    int32_t (*begin)(void *, uint64_t, const void *, uint64_t *);
    int32_t (*poll)(void *, uint64_t, uint32_t);
    void (*drop_task)(void *, uint64_t);
    int32_t (*on_session)(void *, uint64_t, const void *, uint64_t *);
    slice (*openapi)(void *);
    void (*quiesce)(void *, uint64_t);
    int32_t (*save)(void *, uint32_t *);
    void (*fini)(void *);
} module_table;
/* As far as it is used here. */
typedef struct {
    uint32_t size;
    uint16_t abi_major, abi_minor;
    void (*fail)(slice);
    void (*log)(uint64_t, uint64_t, uint32_t, slice, slice, slice);
    uint32_t (*log_level)(uint64_t);
    int32_t (*wake)(uint64_t);
    int32_t (*body_read)(uint64_t, uint8_t *, size_t, size_t *);
    int32_t (*respond)(uint64_t, uint16_t, const void *, size_t, slice);
} host_table;
typedef struct {
    uint32_t name_len, body_len, note_type;
    char note_name[12];
    char magic[8];
    uint32_t len;
    uint16_t abi_major, abi_minor;
    uint32_t grants, flags, state_schema_min, state_schema_max;
    char name[64], version[64], public_routes[256], internal_routes[256], calls[256], sdk[64], compiler[64];
} descriptor;

#ifndef ANSWER
#define ANSWER "well"
#endif
#ifndef VERSION
#define VERSION "1.0.0"
#endif

/* Both take what is to be otherwise, as designated initialisers. */
#define DESCRIPTOR(symbol, ...)                                                                                      \
    __attribute__((used, section(".note.midplane"), aligned(4))) static const descriptor symbol = {                  \
        .name_len = 9, .body_len = sizeof(descriptor) - 24, .note_type = 1, .note_name = "Midplane",                 \
        .magic = {'M', 'I', 'D', 'P', 'L', 'A', 'N', 'E'}, .len = sizeof(descriptor) - 24, .abi_major = 1,           \
        .name = "refused", .version = VERSION, .sdk = "none", .compiler = "cc", __VA_ARGS__}
#define ENTRY(...)                                                                                                   \
    int32_t midplane_module_entry(const host_table *table, module_table *out) {                                      \
        host = table;                                                                                                \
        *out = (module_table){.size = sizeof *out, .abi_major = 1, .init = well_init, .begin = well_begin,           \
                              .poll = well_poll, .drop_task = well_drop, .fini = well_fini, __VA_ARGS__};            \
        return OK;                                                                                                   \
    }

static const host_table *host;

static inline slice text(const char *words) { return (slice){words, strlen(words)}; }

/* The file that is waited for. */
#ifndef RELEASE
#define RELEASE "/dev/null"
#endif

static inline void wait_for_release(const char *who) {
    fprintf(stderr, "%s waits in process %d\n", who, (int)getpid());
    while (access(RELEASE, F_OK) != 0) usleep(1000);
    fprintf(stderr, "%s goes on\n", who);
}

static int32_t well_init(const init_args *given, instance_out *out) {
    (void)given;
    out->ptr = &host;
    return OK;
}

static int32_t well_begin(void *instance, uint64_t request, const void *head, uint64_t *task) {
    (void)instance;
    (void)head;
    *task = request;
    return OK;
}

static int32_t well_poll(void *instance, uint64_t task, uint32_t why) {
    (void)instance;
    (void)why;
    host->respond(task, 200, NULL, 0, text(ANSWER));
    return OK;
}

static void well_drop(void *instance, uint64_t task) {
    (void)instance;
    (void)task;
}

static void well_fini(void *instance) { (void)instance; }
