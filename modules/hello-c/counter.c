/* A module with what hello has no use for: state that the next generation takes over, and a body that streams both ways.
 *
 *     GET  /count     how often /add was called, over every reload
 *     POST /add       counts, and says how often now
 *     POST /echo      sends the body back as it comes, never holding more than a piece of it
 */
#include <midplane.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* The state: the count, eight bytes, the lowest first. Another layout would be another schema, and this one be read still. */
enum { SCHEMA = 1, STATE_LEN = 8 };

MP_MODULE_DESCRIPTOR_WITH("counter", "0.1.0", 0, 0, SCHEMA, SCHEMA, "", "", "");

static const mp_host *host;

/* One for a generation; its tasks run on several threads at once. */
typedef struct counter {
    uint64_t owner;
    _Atomic uint64_t count;
    atomic_int restored;
} counter;

typedef struct task {
    mp_request request;
    enum { COUNT, ADD, ECHO, NOT_FOUND } route;
    int started, full;
} task;

static mp_status failed(const char *why) {
    host->fail(mp_text(why));
    return MP_FAILED;
}

static mp_status init(const mp_init *given, mp_instance *out) {
    counter *c = calloc(1, sizeof *c);
    if (c == NULL) return failed("there is no memory for the counter");
    c->owner = given->owner;
    out->ptr = c;
    return MP_OK;
}

static void fini(void *instance) { free(instance); }

static mp_status restore(mp_instance *instance, uint32_t schema, mp_slice state) {
    counter *c = instance->ptr;
    if (state.ptr != NULL) {
        uint64_t count = 0;
        if (schema != SCHEMA || state.len != STATE_LEN) return failed("the state is not a count");
        for (int i = STATE_LEN; i-- > 0;) count = count << 8 | state.ptr[i];
        atomic_store(&c->count, count);
    }
    atomic_store(&c->restored, 1);
    return MP_OK;
}

/* A module that needs something of the outside would see here whether it is there. */
static mp_status probe(void *instance) {
    return atomic_load(&((counter *)instance)->restored) ? MP_OK : failed("the count was not restored");
}

static mp_status save(void *instance, uint32_t *schema) {
    counter *c = instance;
    const uint64_t count = atomic_load(&c->count);
    uint8_t state[STATE_LEN];
    for (int i = 0; i < STATE_LEN; i++) state[i] = (uint8_t)(count >> (8 * i));
    if (host->state_write(c->owner, mp_bytes(state, sizeof state)) != MP_OK) return failed("the count was not taken");
    *schema = SCHEMA;
    return MP_OK;
}

static mp_status begin(void *instance, mp_request request, const mp_request_head *head, mp_task *out) {
    const int post = mp_is(head->method, "POST");
    (void)instance;
    task *t = calloc(1, sizeof *t);
    if (t == NULL) return failed("there is no memory for a request");
    t->request = request;
    t->route = NOT_FOUND;
    if (!post && mp_is(head->path, "/count")) t->route = COUNT;
    if (post && mp_is(head->path, "/add")) t->route = ADD;
    if (post && mp_is(head->path, "/echo")) t->route = ECHO;
    *out = (mp_task)(uintptr_t)t;
    return MP_OK;
}

/* Reads and writes until one of the two has to wait. */
static mp_status echo(task *t, uint32_t why) {
    uint8_t piece[4096];
    size_t len = 0;
    /* Woken for another reason, while the client still has more than enough to read. */
    if (t->full && why != MP_WRITABLE) return MP_PENDING;
    t->full = 0;
    for (;;) {
        const mp_status read = host->body_read(t->request, piece, sizeof piece, &len);
        if (read == MP_PENDING) return MP_PENDING;
        if (read != MP_OK && read != MP_END) return failed("the body did not come whole");
        if (!t->started) {
            t->started = 1;
            host->respond_start(t->request, 200, NULL, 0);
        }
        if (read == MP_END) {
            host->body_end(t->request);
            return MP_OK;
        }
        if (host->body_write(t->request, mp_bytes(piece, len)) == MP_FULL) {
            t->full = 1; /* All of the piece was taken. The next when there is room: a poll with MP_WRITABLE. */
            return MP_PENDING;
        }
    }
}

static mp_status poll(void *instance, mp_task name, uint32_t why) {
    counter *c = instance;
    task *t = (task *)(uintptr_t)name;
    char text[24];
    uint64_t count;
    if (why == MP_CANCEL) return MP_OK; /* The client left; `drop_task` comes next. */
    switch (t->route) {
    case ECHO: return echo(t, why);
    case NOT_FOUND: host->respond(t->request, 404, NULL, 0, mp_none()); return MP_OK;
    case ADD: count = atomic_fetch_add(&c->count, 1) + 1; break;
    case COUNT:
    default: count = atomic_load(&c->count); break;
    }
    snprintf(text, sizeof text, "%llu", (unsigned long long)count);
    host->respond(t->request, 200, NULL, 0, mp_text(text));
    return MP_OK;
}

static void drop_task(void *instance, mp_task name) {
    (void)instance;
    free((task *)(uintptr_t)name);
}

mp_status midplane_module_entry(const mp_host *table, mp_module *out) {
    if (out->size < sizeof *out) return MP_INVALID;
    host = table;
    *out = (mp_module){
        .size = sizeof *out,
        .abi_major = MP_ABI_MAJOR,
        .abi_minor = MP_ABI_MINOR,
        .init = init,
        .restore = restore,
        .probe = probe,
        .begin = begin,
        .poll = poll,
        .drop_task = drop_task,
        .save = save,
        .fini = fini,
    };
    return MP_OK;
}
