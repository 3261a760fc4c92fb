/* Stands in for the kernel: drives a module of modules/hello-c, linked with it, from several threads, counts what the module
 * allocates, and lets memory run out. tests/rust/modules/c.rs compiles it, with -DDRIVE=hello or counter, and with malloc and
 * its like renamed in the module. Ends with 0, or says what was wrong.
 */
#undef malloc
#undef calloc
#undef free
#include <midplane.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 4, ROUNDS = 2000, BODY_LEN = 30000 };

static atomic_long live;
static atomic_int exhausted;

void *counted_malloc(size_t len);
void *counted_calloc(size_t number, size_t len);
void counted_free(void *given);

void *counted_malloc(size_t len) { return counted_calloc(1, len); }
void *counted_calloc(size_t number, size_t len) {
    if (atomic_load(&exhausted)) return NULL;
    atomic_fetch_add(&live, 1);
    return calloc(number, len);
}
void counted_free(void *given) {
    if (given != NULL) atomic_fetch_sub(&live, 1);
    free(given);
}

static void expect(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "drive: this does not hold: %s\n", what);
    exit(1);
}
#define EXPECT(condition) expect((condition), #condition)

/* A request: its handle is its address. */
typedef struct exchange {
    const char *method, *path, *user;
    int status, ended, full;
    char body[64];
    size_t taken, given;
    unsigned reads, writes;
} exchange;

static exchange *of(mp_request request) { return (exchange *)(uintptr_t)request; }

static _Thread_local int failures;
static void fail(mp_slice message) { failures += message.len > 0; }

static mp_status respond(mp_request request, uint16_t status, const mp_header *headers, size_t headers_len, mp_slice body) {
    exchange *e = of(request);
    EXPECT(!e->status && !e->ended && body.len < sizeof e->body && (headers != NULL || headers_len == 0));
    if (body.len > 0) memcpy(e->body, body.ptr, body.len);
    e->body[body.len] = 0;
    e->status = status;
    e->ended = 1;
    return MP_OK;
}

static mp_status respond_start(mp_request request, uint16_t status, const mp_header *headers, size_t headers_len) {
    (void)headers;
    EXPECT(!of(request)->status && headers_len == 0);
    of(request)->status = status;
    return MP_OK;
}

/* Every third time there is nothing yet. */
static mp_status body_read(mp_request request, uint8_t *dst, size_t cap, size_t *len) {
    exchange *e = of(request);
    if (e->reads++ % 3 == 2) return MP_PENDING;
    if (e->taken == BODY_LEN) return MP_END;
    *len = BODY_LEN - e->taken < 1000 ? BODY_LEN - e->taken : 1000;
    if (*len > cap) *len = cap;
    for (size_t i = 0; i < *len; i++) dst[i] = (uint8_t)((e->taken + i) % 251);
    e->taken += *len;
    return MP_OK;
}

/* Every second time it is too much. */
static mp_status body_write(mp_request request, mp_slice bytes) {
    exchange *e = of(request);
    EXPECT(e->status == 200 && !e->full && !e->ended);
    for (size_t i = 0; i < bytes.len; i++) EXPECT(bytes.ptr[i] == (uint8_t)((e->given + i) % 251));
    e->given += bytes.len;
    e->full = e->writes++ % 2;
    return e->full ? MP_FULL : MP_OK;
}

static mp_status body_end(mp_request request) {
    EXPECT(!of(request)->ended);
    of(request)->ended = 1;
    return MP_OK;
}

static uint8_t state[64];
static size_t state_len;
static mp_status state_write(uint64_t owner, mp_slice bytes) {
    EXPECT(owner == 7 && bytes.len <= sizeof state - state_len);
    memcpy(state + state_len, bytes.ptr, bytes.len);
    state_len += bytes.len;
    return MP_OK;
}

/* What is null here may not be called. */
static const mp_host host = {.size = sizeof host, .abi_major = MP_ABI_MAJOR, .fail = fail, .respond = respond,
                             .respond_start = respond_start, .body_read = body_read, .body_write = body_write,
                             .body_end = body_end, .state_write = state_write};
static mp_module module = {.size = sizeof module};

static mp_instance make(void) {
    const mp_init given = {.size = sizeof given, .owner = 7, .name = mp_text("x"), .generation = 1, .config = mp_text("{}")};
    mp_instance made = {.size = sizeof made};
    EXPECT(module.init(&given, &made) == MP_OK);
    return made;
}

static mp_status begin(void *instance, exchange *e, mp_task *task) {
    const mp_session session = {.size = sizeof session, .user = mp_text(e->user)};
    const mp_request_head head = {.size = sizeof head, .method = mp_text(e->method), .path = mp_text(e->path), .session = &session};
    return module.begin(instance, (mp_request)(uintptr_t)e, &head, task);
}

/* One request from begin to end; `cancelled`: its client leaves at once. */
static exchange drive(void *instance, const char *method, const char *path, const char *user, int cancelled) {
    exchange e = {.method = method, .path = path, .user = user};
    mp_task task = 0;
    EXPECT(begin(instance, &e, &task) == MP_OK);
    if (cancelled) {
        EXPECT(module.poll(instance, task, MP_CANCEL) == MP_OK);
    } else {
        while (module.poll(instance, task, MP_WAKE) == MP_PENDING) {
            if (!e.full) continue;
            /* Woken for nothing: it may not write. */
            EXPECT(module.poll(instance, task, MP_WAKE) == MP_PENDING);
            e.full = 0;
            if (module.poll(instance, task, MP_WRITABLE) == MP_OK) break;
        }
        EXPECT(e.ended);
    }
    module.drop_task(instance, task);
    return e;
}

static void hello(void *instance, int round) {
    const char *user = round % 2 ? "ada" : "a much longer name of a user";
    exchange e = drive(instance, round % 3 ? "GET" : "HEAD", "/hello", user, 0);
    EXPECT(e.status == 200 && strncmp(e.body, "hello ", 6) == 0 && strcmp(e.body + 6, user) == 0);
    e = drive(instance, "GET", "/hello", "", 0);
    EXPECT(e.status == 200 && strcmp(e.body, "hello ") == 0);
    EXPECT(drive(instance, "DELETE", "/hello", user, 0).status == 405);
    EXPECT(drive(instance, "GET", "/hello2", user, 0).status == 404);
    EXPECT(drive(instance, "GET", "/hello", user, 1).status == 0);
}

static void counter(void *instance, int round) {
    exchange e = drive(instance, "POST", "/add", "", 0);
    EXPECT(e.status == 200 && atoi(e.body) > round);
    EXPECT(drive(instance, "GET", "/add", "", 0).status == 404);
    if (round % 20) return;
    e = drive(instance, "POST", "/echo", "", 0);
    EXPECT(e.status == 200 && e.given == BODY_LEN);
    EXPECT(drive(instance, "POST", "/echo", "", 1).status == 0);
}

/* What only the counter has. */
static void hand_over(void *instance) {
    uint32_t schema = 0;
    char expected[16];
    if (module.save == NULL) return;
    snprintf(expected, sizeof expected, "%d", THREADS * ROUNDS);
    EXPECT(module.save(instance, &schema) == MP_OK && schema == 1);
    mp_instance next = make();
    EXPECT(module.probe(next.ptr) == MP_FAILED);
    EXPECT(module.restore(&next, schema, mp_bytes(state, state_len - 1)) == MP_FAILED);
    EXPECT(module.restore(&next, schema + 1, mp_bytes(state, state_len)) == MP_FAILED);
    EXPECT(failures == 3);
    EXPECT(module.restore(&next, schema, mp_bytes(state, state_len)) == MP_OK);
    EXPECT(module.probe(next.ptr) == MP_OK);
    EXPECT(strcmp(drive(next.ptr, "GET", "/count", "", 0).body, expected) == 0);
    module.fini(next.ptr);
    next = make();
    EXPECT(module.restore(&next, 0, mp_none()) == MP_OK);
    EXPECT(strcmp(drive(next.ptr, "GET", "/count", "", 0).body, "0") == 0);
    module.fini(next.ptr);
}

static void *rounds(void *instance) {
    for (int round = 0; round < ROUNDS; round++) DRIVE(instance, round);
    return NULL;
}

int main(void) {
    /* The one of the two that is not driven. */
    (void)hello;
    (void)counter;
    mp_module small = {.size = sizeof small - 8};
    EXPECT(midplane_module_entry(&host, &small) == MP_INVALID);
    EXPECT(midplane_module_entry(&host, &module) == MP_OK && module.size == sizeof module);
    mp_instance instance = make();
    if (module.restore != NULL) EXPECT(module.restore(&instance, 0, mp_none()) == MP_OK);
    const long before = atomic_load(&live);

    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) EXPECT(pthread_create(&threads[i], NULL, rounds, instance.ptr) == 0);
    for (int i = 0; i < THREADS; i++) EXPECT(pthread_join(threads[i], NULL) == 0);
    EXPECT(atomic_load(&live) == before);
    hand_over(instance.ptr);

    failures = 0;
    atomic_store(&exhausted, 1);
    exchange e = {.method = "GET", .path = "/hello", .user = "ada"};
    mp_task task = 0;
    EXPECT(begin(instance.ptr, &e, &task) == MP_FAILED && failures == 1);
    module.fini(instance.ptr);
    EXPECT(atomic_load(&live) == 0);
    return 0;
}
