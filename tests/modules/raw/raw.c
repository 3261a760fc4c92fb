/* A module that misuses the ABI on request, in plain C from hand-written declarations.
 *
 * tests/rust/modules/abi.rs compiles it. It must not include a header of the SDK: what is tested is what any caller of these
 * functions may do.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, PENDING = 1, FULL = 2, END = 3, GONE = -1, DENIED = -2, INVALID = -3, FAILED = -4, TOO_SMALL = -6, TOO_LARGE = -7 };
enum { WAKE = 0, WRITABLE = 1, CANCEL = 2 };
enum { TEXT = 1, BINARY = 2 };

typedef struct { const void *ptr; size_t len; } slice;
typedef struct { slice name, value; } header;
typedef struct {
    uint32_t size, flags;
    slice method, path, query;
    const header *headers;
    size_t headers_len;
    slice request_id;
    const void *session;
    int64_t content_length;
    const void *caller;
} request_head;
typedef struct { uint32_t size, flags; uint64_t owner; slice name; uint64_t generation; slice config, data_dir; } init_args;
typedef struct { uint32_t size, flags; void *ptr; } instance_out;
typedef struct {
    uint32_t size;
    uint16_t abi_major, abi_minor;
    uint64_t flags;
    int32_t (*init)(const init_args *, instance_out *);
    int32_t (*restore)(void *, uint32_t, slice);
    int32_t (*probe)(void *);
    int32_t (*begin)(void *, uint64_t, const request_head *, uint64_t *);
    int32_t (*poll)(void *, uint64_t, uint32_t);
    void (*drop_task)(void *, uint64_t);
    int32_t (*on_session)(void *, uint64_t, const void *, uint64_t *);
    slice (*openapi)(void *);
    void (*quiesce)(void *, uint64_t);
    int32_t (*save)(void *, uint32_t *);
    void (*fini)(void *);
} module_table;
typedef struct {
    uint32_t size;
    uint16_t abi_major, abi_minor;
    void (*fail)(slice);
    void (*log)(uint64_t, uint64_t, uint32_t, slice, slice, slice);
    uint32_t (*log_level)(uint64_t);
    int32_t (*wake)(uint64_t);
    int32_t (*body_read)(uint64_t, uint8_t *, size_t, size_t *);
    int32_t (*respond)(uint64_t, uint16_t, const header *, size_t, slice);
    int32_t (*respond_start)(uint64_t, uint16_t, const header *, size_t);
    int32_t (*body_write)(uint64_t, slice);
    int32_t (*body_end)(uint64_t);
    int32_t (*secret_get)(uint64_t, uint8_t *, size_t, size_t *);
    int32_t (*secret_refresh)(uint64_t, uint8_t *, size_t, size_t *);
    int32_t (*body_limit)(uint64_t, slice, uint64_t);
    int32_t (*state_write)(uint64_t, slice);
    const void *(*get_api)(slice, uint32_t);
    int32_t (*ws_accept)(uint64_t, slice, const header *, size_t, size_t);
    int32_t (*ws_recv)(uint64_t, uint32_t *, uint8_t *, size_t, size_t *);
    int32_t (*ws_send)(uint64_t, uint32_t, slice);
    int32_t (*ws_close)(uint64_t, uint16_t, slice);
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
#define DESCRIPTOR(symbol)                                                                                           \
    __attribute__((used, section(".note.midplane"), aligned(4))) static const descriptor symbol = {                  \
        .name_len = 9, .body_len = sizeof(descriptor) - 24, .note_type = 1, .note_name = "Midplane",                 \
        .magic = {'M', 'I', 'D', 'P', 'L', 'A', 'N', 'E'}, .len = sizeof(descriptor) - 24, .abi_major = 1,           \
        .name = "raw", .version = "0.0.1", .sdk = "none", .compiler = "cc"}
DESCRIPTOR(only);

static const host_table *host;
static uint64_t owner;
/* The handle of a request that is over by the time it is used. */
static _Atomic uint64_t remembered;
static atomic_int wrong, haunting;
static atomic_int begun, cancelled, finished, dropped;

/* The name of a task is the address of one of these. */
typedef struct { uint64_t request; char path[64]; int step, websocket; pthread_t thread; atomic_int threaded; } task;
static task tasks[256];
static atomic_uint next_task;

static slice text(const char *words) { return (slice){words, strlen(words)}; }
static int is(const task *t, const char *path) { return strcmp(t->path, path) == 0; }

static void expect(int32_t found, int32_t expected) { if (found != expected) atomic_fetch_add(&wrong, 1); }

static void respond_count(uint64_t request) {
    char words[64];
    snprintf(words, sizeof words, "wrong answers: %d", atomic_exchange(&wrong, 0));
    host->respond(request, 200, NULL, 0, text(words));
}

typedef struct {
    uint32_t size, flags;
    slice module, method, path, query;
    const header *headers;
    size_t headers_len;
    int64_t content_length;
} call_head;
typedef struct {
    uint32_t size, flags;
    int32_t (*start)(uint64_t, uint64_t, const call_head *, uint64_t *);
    int32_t (*body_write)(uint64_t, uint64_t, slice);
    int32_t (*body_end)(uint64_t);
    int32_t (*response)(uint64_t, uint64_t, uint16_t *, uint8_t *, size_t, size_t *);
    int32_t (*body_read)(uint64_t, uint64_t, uint8_t *, size_t, size_t *);
    int32_t (*forget)(uint64_t);
    int32_t (*listen)(uint64_t, int32_t *);
    int32_t (*news)(uint64_t, uint64_t *, size_t, size_t *);
} call_api;

typedef struct { uint32_t size, kind; slice name, help; const double *bounds; size_t bounds_len; } metric_head;
typedef struct {
    uint32_t size, flags;
    int32_t (*metric)(uint64_t, const metric_head *, uint64_t *);
    int32_t (*series)(uint64_t, uint64_t, const header *, size_t, slice, uint64_t *);
    int32_t (*add)(uint64_t, int64_t);
    int32_t (*set)(uint64_t, double);
    int32_t (*observe)(uint64_t, double);
} metrics_api;

/* Counts what cannot be counted, and a few numbers under names that can only just be. */
static void count(void) {
    const slice none = {NULL, 0};
    const metrics_api *metrics = host->get_api(text("metrics"), 1);
    if (metrics == NULL || metrics->size < sizeof *metrics || host->get_api(text("metrics"), 2) != NULL) {
        atomic_fetch_add(&wrong, 1);
        return;
    }
    uint64_t metric = 0, series = 0, gauge = 0;
    metric_head head = {.size = sizeof head, .kind = 1, .name = text("hostile"), .help = text("A \"quoted\"\nhelp \\")};
    expect(metrics->metric(owner, &head, NULL), INVALID);
    expect(metrics->metric(owner, NULL, &metric), INVALID);
    expect(metrics->metric(owner ^ 1ull << 40, &head, &metric), GONE);
    expect(metrics->metric(owner, &head, &metric), OK);
    const slice names[] = {none, text(""), text("a b"), text("a\nb 1"), text("a\"b"), text("a_total"), text("9a"), text("a:b"),
                           {"a\0b", 3}, {"a\xff\xfe", 3}, {"\xed\xa0\x80", 3}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        head.name = names[i];
        expect(metrics->metric(owner, &head, &gauge), INVALID);
    }
    static char much[1 << 20];
    memset(much, 'a', sizeof much);
    head.name = (slice){much, sizeof much};
    expect(metrics->metric(owner, &head, &gauge), INVALID);
    head.name = text("other");
    const slice helps[] = {{"\xff", 1}, {"a\0b", 3}, text("a\rb"), {much, sizeof much}};
    for (size_t i = 0; i < sizeof helps / sizeof *helps; i++) {
        head.help = helps[i];
        expect(metrics->metric(owner, &head, &gauge), INVALID);
    }
    head.help = none;
    head.kind = 3;
    const double falling[] = {2, 1}, nan[] = {0.0 / 0.0};
    expect(metrics->metric(owner, &head, &gauge), INVALID);
    head.bounds = falling;
    head.bounds_len = 2;
    expect(metrics->metric(owner, &head, &gauge), INVALID);
    head.bounds_len = SIZE_MAX;
    head.bounds = NULL;
    expect(metrics->metric(owner, &head, &gauge), INVALID);
    head.bounds = nan;
    head.bounds_len = 1;
    expect(metrics->metric(owner, &head, &gauge), INVALID);
    head.kind = 7;
    expect(metrics->metric(owner, &head, &gauge), INVALID);
    head = (metric_head){.size = sizeof head - 1, .kind = 2, .name = text("gauge")};
    expect(metrics->metric(owner, &head, &gauge), INVALID);
    head.size = sizeof head;
    expect(metrics->metric(owner, &head, &gauge), OK);

    const slice bad[] = {{"\xff\xfe", 2}, {"nul\0", 4}, text("a\rb"), {much, sizeof much}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const header label = {text("l"), bad[i]}, name = {bad[i], text("v")};
        expect(metrics->series(owner, metric, &label, 1, none, &series), INVALID);
        expect(metrics->series(owner, metric, &name, 1, none, &series), INVALID);
        expect(metrics->series(owner, metric, NULL, 0, bad[i], &series), i == 0 || i == 3 ? INVALID : OK);
    }
    const header twice[] = {{text("l"), text("1")}, {text("l"), text("2")}}, taken = {text("module"), text("hello")};
    expect(metrics->series(owner, metric, twice, 2, none, &series), INVALID);
    expect(metrics->series(owner, metric, &taken, 1, none, &series), INVALID);
    expect(metrics->series(owner, metric, NULL, 1, none, &series), INVALID);
    expect(metrics->series(owner, metric, NULL, 0, none, NULL), INVALID);
    expect(metrics->series(owner, 0, NULL, 0, none, &series), GONE);
    expect(metrics->series(owner, metric + 1000, NULL, 0, none, &series), GONE);

    const header well = {text("l"), text("\"} 1\nmidplane_sessions 99\n# EOF\n\\")};
    expect(metrics->series(owner, metric, &well, 1, none, &series), OK);
    expect(metrics->add(series, 5), OK);
    expect(metrics->add(series, -1), INVALID);
    expect(metrics->set(series, 1), INVALID);
    expect(metrics->observe(series, 1), INVALID);
    expect(metrics->add(series + 1, 5), GONE);
    expect(metrics->add(0, 5), GONE);
    expect(metrics->series(owner, gauge, NULL, 0, none, &series), OK);
    expect(metrics->set(series, 1.5), OK);
    expect(metrics->set(series, nan[0]), INVALID);
    expect(metrics->set(series, 1 / 0.0), INVALID);
    expect(metrics->add(series, -4), OK);
}

/* Calls to other modules, by a module that may make none. */
static void call_modules(uint64_t request, uint64_t handle) {
    const call_api *calls = host->get_api(text("call"), 1);
    if (calls == NULL || calls->size < sizeof *calls) {
        atomic_fetch_add(&wrong, 1);
        return;
    }
    uint8_t buffer[16];
    size_t len = 0;
    uint16_t status = 0;
    uint64_t call = 0, found[4];
    call_head head = {.size = sizeof head, .module = text("hello"), .method = text("GET"), .path = text("/")};
    expect(calls->start(UINT64_MAX, request, &head, &call), GONE);
    expect(calls->start(owner, request, NULL, &call), INVALID);
    expect(calls->start(owner, request, &head, NULL), INVALID);
    expect(calls->start(owner, request, &head, &call), DENIED);
    head.module = text("No Name");
    expect(calls->start(owner, request, &head, &call), INVALID);
    head.module = (slice){NULL, 0};
    expect(calls->start(owner, request, &head, &call), INVALID);
    head.size = 8;
    expect(calls->start(owner, request, &head, &call), INVALID);
    /* Its own calls are numbered by the kernel: none of these is one. */
    expect(calls->body_write(handle, request, text("ghost")), GONE);
    expect(calls->body_end(handle), GONE);
    expect(calls->response(handle, request, &status, buffer, sizeof buffer, &len), GONE);
    expect(calls->response(handle, 0, NULL, NULL, 0, NULL), GONE);
    expect(calls->body_read(handle, request, buffer, sizeof buffer, &len), GONE);
    expect(calls->body_read(handle, 0, NULL, 0, NULL), GONE);
    expect(calls->forget(handle), GONE);
    expect(calls->listen(UINT64_MAX, NULL), GONE);
    expect(calls->listen(owner, NULL), INVALID);
    expect(calls->news(UINT64_MAX, found, 4, &len), GONE);
    expect(calls->news(owner, NULL, 0, NULL), INVALID);
    len = 1;
    expect(calls->news(owner, found, 4, &len), OK);
    if (len != 0) atomic_fetch_add(&wrong, 1);
}

static void call_with(uint64_t handle) {
    uint8_t buffer[16];
    size_t len = 0;
    expect(host->wake(handle), GONE);
    expect(host->body_read(handle, buffer, sizeof buffer, &len), GONE);
    expect(host->body_read(handle, NULL, 0, NULL), GONE);
    expect(host->respond(handle, 200, NULL, 0, text("ghost")), GONE);
    expect(host->respond_start(handle, 200, NULL, 0), GONE);
    expect(host->body_write(handle, text("ghost")), GONE);
    expect(host->body_end(handle), GONE);
    expect(host->secret_get(handle, buffer, sizeof buffer, &len), GONE);
    expect(host->secret_refresh(handle, buffer, sizeof buffer, &len), GONE);
    uint32_t kind = 0;
    expect(host->ws_accept(handle, (slice){NULL, 0}, NULL, 0, 0), GONE);
    expect(host->ws_recv(handle, &kind, buffer, sizeof buffer, &len), GONE);
    expect(host->ws_recv(handle, NULL, NULL, 0, NULL), GONE);
    expect(host->ws_send(handle, 1, text("ghost")), GONE);
    expect(host->ws_close(handle, 1000, text("ghost")), GONE);
    host->log(owner, handle, 3, text("raw"), text("of no request"), (slice){NULL, 0});
}

static void call_garbage(uint64_t live) {
    const uint64_t handles[] = {0, 1, UINT64_MAX, UINT64_MAX >> 32, UINT64_C(1) << 32 | 0xffff, 0x123456789abcdef0,
                                live + (UINT64_C(1) << 32), live - (UINT64_C(1) << 32), live + 300, remembered};
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) call_with(handles[i]);
    expect(host->body_limit(UINT64_MAX, text("/x"), 1), GONE);
    /* After init it is too late. */
    expect(host->body_limit(owner, text("/x"), 1), INVALID);
    /* Nobody asked for its state. */
    expect(host->state_write(UINT64_MAX, text("x")), GONE);
    expect(host->state_write(owner, text("x")), INVALID);
    if (host->log_level(UINT64_MAX) <= 5) atomic_fetch_add(&wrong, 1);
    if (host->get_api(text("nothing"), 1) != NULL) atomic_fetch_add(&wrong, 1);
    if (host->get_api(text("call"), 2) != NULL) atomic_fetch_add(&wrong, 1);
    if (host->get_api((slice){NULL, 0}, 1) != NULL) atomic_fetch_add(&wrong, 1);
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) call_modules(live, handles[i]);
}

static void *garbage_thread(void *given) {
    task *t = given;
    call_garbage(t->request);
    host->wake(t->request);
    return NULL;
}

static void *answer_thread(void *given) {
    task *t = given;
    if (is(t, "/thread")) {
        expect(host->respond(t->request, 200, NULL, 0, text("from a thread")), OK);
    } else {
        expect(host->respond_start(t->request, 200, NULL, 0), OK);
        expect(host->body_write(t->request, text("from a ")), OK);
        expect(host->wake(t->request), OK);
        usleep(20000);
        expect(host->body_write(t->request, text("thread")), OK);
        expect(host->body_end(t->request), OK);
    }
    expect(host->wake(t->request), OK);
    return NULL;
}

static void *finish_thread(void *given) {
    task *t = given;
    usleep(50000);
    host->wake(t->request);
    return NULL;
}

static void *haunt(void *given) {
    (void)given;
    /* Until the generation is over for the kernel, too. */
    while (host->log_level(owner) <= 5) usleep(1000);
    for (int i = 0; i < 200; i++) {
        call_with(remembered);
        host->log(owner, 0, 5, text("raw"), text("a line from beyond"), (slice){NULL, 0});
        host->fail(text("nobody asked"));
        usleep(1000);
    }
    fprintf(stderr, "haunted: wrong answers: %d\n", atomic_load(&wrong));
    return NULL;
}

static void start(task *t, void *(*run)(void *)) {
    if (pthread_create(&t->thread, NULL, run, t) == 0) atomic_store(&t->threaded, 1);
}

static int32_t module_init(const init_args *given, instance_out *out) {
    owner = given->owner;
    expect(given->size >= sizeof *given && given->data_dir.len > 1 && *(const char *)given->data_dir.ptr == '/', 1);
    expect(host->body_limit(owner, text("no slash"), 1), INVALID);
    expect(host->body_limit(owner, text("/a*b"), 1), INVALID);
    expect(host->body_limit(owner, text("/ok/*"), 1), OK);
    out->ptr = &tasks;
    return OK;
}

static int32_t module_begin(void *instance, uint64_t request, const request_head *head, uint64_t *out) {
    (void)instance;
    task *t = &tasks[atomic_fetch_add(&next_task, 1) % 256];
    memset(t, 0, sizeof *t);
    t->request = request;
    t->websocket = head->flags == 1;
    size_t len = head->path.len < sizeof t->path - 1 ? head->path.len : sizeof t->path - 1;
    memcpy(t->path, head->path.ptr, len);
    if (is(t, "/begin-pending")) return PENDING;
    if (is(t, "/begin-fails")) {
        host->fail(text("begin says no"));
        return FAILED;
    }
    *out = (uint64_t)(uintptr_t)t;
    return OK;
}

static int32_t poll_out_of_turn(task *t) {
    const uint64_t request = t->request;
    const slice dot = text(".");
    if (is(t, "/write-first") || is(t, "/end-first")) {
        expect(is(t, "/end-first") ? host->body_end(request) : host->body_write(request, dot), INVALID);
        expect(host->respond(request, 200, NULL, 0, dot), OK);
    } else if (is(t, "/twice")) {
        expect(host->respond(request, 200, NULL, 0, dot), OK);
        expect(host->respond(request, 404, NULL, 0, text("second")), INVALID);
        expect(host->respond_start(request, 404, NULL, 0), INVALID);
        expect(host->body_write(request, text("more")), INVALID);
        expect(host->body_end(request), INVALID);
    } else if (is(t, "/bad-heads")) {
        const header bad_name = {text("no blanks"), text("x")}, bad_value = {text("x"), text("a\r\nb: c")};
        const header no_name = {{NULL, 0}, text("x")}, empty = {text(""), text("x")};
        const header *const fields[] = {&bad_name, &bad_value, &no_name, &empty};
        for (size_t i = 0; i < 4; i++) expect(host->respond(request, 200, fields[i], 1, dot), INVALID);
        const uint16_t codes[] = {0, 99, 100, 101, 199, 1000, 65535};
        for (size_t i = 0; i < 7; i++) expect(host->respond(request, codes[i], NULL, 0, dot), INVALID);
        expect(host->respond(request, 200, NULL, 3, dot), INVALID);
        expect(host->respond(request, 200, &bad_name, SIZE_MAX, dot), INVALID);
        expect(host->respond(request, 200, NULL, 0, dot), OK);
    } else if (is(t, "/write-after-end")) {
        expect(host->respond_start(request, 200, NULL, 0), OK);
        expect(host->body_write(request, dot), OK);
        expect(host->body_write(request, (slice){NULL, 0}), OK);
        expect(host->body_end(request), OK);
        expect(host->body_write(request, dot), INVALID);
        expect(host->body_end(request), INVALID);
    } else {
        static char many[64 * 1024];
        memset(many, '.', sizeof many);
        expect(host->respond_start(request, 200, NULL, 0), OK);
        expect(host->body_write(request, (slice){many, sizeof many}), FULL);
        expect(host->body_write(request, dot), INVALID);
        expect(host->body_end(request), OK);
    }
    return OK;
}

/* One message at a time, kept here while there is no room for it. */
static int32_t echo(task *t) {
    static uint8_t kept[1 << 20];
    static uint32_t kind;
    static size_t len;
    static int full;
    const uint64_t request = t->request;
    if (t->step == 1) {
        full = 0;
        expect(host->ws_accept(request, (slice){NULL, 0}, NULL, 0, 0), OK);
    }
    for (;;) {
        if (!full) {
            const int32_t received = host->ws_recv(request, &kind, kept, sizeof kept, &len);
            if (received != OK) return received == PENDING ? PENDING : OK;
        }
        full = host->ws_send(request, kind, (slice){kept, len}) == FULL;
        if (full) return PENDING;
    }
}

/* What makes no sense before a socket is open, while it is, and behind its end. */
static int32_t misuse_socket(task *t, uint32_t why) {
    const uint64_t request = t->request;
    const slice none = {NULL, 0}, word = text("word"), bad = text("\xff");
    static char large[(1 << 20) + 1];
    uint8_t buffer[8];
    uint32_t kind = 0;
    size_t len = 0;
    if (t->step == 1) {
        const header bad_name = {text("no blanks"), text("x")};
        expect(host->ws_recv(request, &kind, buffer, sizeof buffer, &len), INVALID);
        expect(host->ws_send(request, TEXT, word), INVALID);
        expect(host->ws_close(request, 1000, none), INVALID);
        expect(host->ws_accept(request, text("never-offered"), NULL, 0, 0), INVALID);
        expect(host->ws_accept(request, none, &bad_name, 1, 0), INVALID);
        expect(host->ws_accept(request, none, NULL, 3, 0), INVALID);
        expect(host->ws_accept(request, none, NULL, 0, 0), OK);
        expect(host->ws_accept(request, none, NULL, 0, 0), INVALID);
        expect(host->respond(request, 200, NULL, 0, word), INVALID);
        expect(host->respond_start(request, 200, NULL, 0), INVALID);
        expect(host->body_write(request, word), INVALID);
        expect(host->body_end(request), INVALID);
        expect(host->ws_send(request, 0, word), INVALID);
        expect(host->ws_send(request, 8, word), INVALID);
        expect(host->ws_send(request, TEXT, bad), INVALID);
        expect(host->ws_send(request, BINARY, (slice){large, sizeof large}), TOO_LARGE);
        expect(host->ws_recv(request, NULL, buffer, sizeof buffer, &len), INVALID);
        expect(host->ws_recv(request, &kind, buffer, sizeof buffer, NULL), INVALID);
        expect(host->ws_recv(request, &kind, NULL, 1, &len), INVALID);
        expect(host->ws_recv(request, &kind, buffer, sizeof buffer, &len), PENDING);
        int32_t sent;
        int count = 0;
        while ((sent = host->ws_send(request, BINARY, none)) == OK) count++;
        expect(sent, FULL);
        expect(count, 64);
        return PENDING;
    }
    if (t->step == 2) {
        expect((int32_t)why, WRITABLE);
        return PENDING;
    }
    const int32_t received = host->ws_recv(request, &kind, buffer, sizeof buffer, &len);
    if (received == PENDING) return PENDING;
    if (received == TOO_SMALL) {
        expect((int32_t)len, 9);
        expect(host->ws_close(request, 1006, none), INVALID);
        expect(host->ws_close(request, 1000, bad), INVALID);
        expect(host->ws_close(request, 1000, (slice){large, 124}), INVALID);
        expect(host->ws_close(request, 4000, word), OK);
        expect(host->ws_close(request, 4000, word), GONE);
        expect(host->ws_send(request, TEXT, word), GONE);
        uint8_t nine[9];
        expect(host->ws_recv(request, &kind, nine, sizeof nine, &len), OK);
        expect((int32_t)kind, TEXT);
        return PENDING;
    }
    expect(received, END);
    expect((int32_t)kind, 4000);
    expect((int32_t)len, 4);
    expect(host->ws_recv(request, &kind, buffer, 2, &len), END);
    expect((int32_t)len, 2);
    expect(host->ws_send(request, TEXT, word), GONE);
    return OK;
}

static void *socket_thread(void *given) {
    task *t = given;
    expect(host->ws_accept(t->request, (slice){NULL, 0}, NULL, 0, 0), OK);
    usleep(20000);
    expect(host->ws_send(t->request, TEXT, text("from a thread")), OK);
    usleep(20000);
    expect(host->ws_close(t->request, 1000, text("done")), OK);
    return NULL;
}

/* Misused by requests that are none, too. */
static int32_t poll_socket(task *t, uint32_t why) {
    if (!t->websocket) {
        uint32_t kind = 0;
        size_t len = 0;
        expect(host->ws_accept(t->request, (slice){NULL, 0}, NULL, 0, 0), INVALID);
        expect(host->ws_recv(t->request, &kind, NULL, 0, &len), INVALID);
        expect(host->ws_send(t->request, TEXT, text("x")), INVALID);
        expect(host->ws_close(t->request, 1000, text("x")), INVALID);
        respond_count(t->request);
        return OK;
    }
    if (is(t, "/ws-echo")) return echo(t);
    if (is(t, "/ws-misuse")) return misuse_socket(t, why);
    if (is(t, "/ws-thread")) {
        if (t->step == 1) start(t, socket_thread);
        return PENDING;
    }
    expect(host->ws_accept(t->request, (slice){NULL, 0}, NULL, 0, 0), OK);
    expect(host->ws_send(t->request, TEXT, text("bye")), OK);
    if (is(t, "/ws-fails")) {
        host->fail(text("a socket says no"));
        return FAILED;
    }
    return OK;
}

static int32_t module_poll(void *instance, uint64_t handle, uint32_t why) {
    (void)instance;
    task *t = (task *)(uintptr_t)handle;
    const int step = t->step++;
    if (is(t, "/cancel")) {
        if (why == CANCEL) {
            atomic_fetch_add(&cancelled, 1);
            start(t, finish_thread);
            return PENDING;
        }
        if (step == 0) {
            atomic_fetch_add(&begun, 1);
            return PENDING;
        }
        atomic_fetch_add(&finished, 1);
        return OK;
    }
    if (why == CANCEL) return OK;
    if (strncmp(t->path, "/ws-", 4) == 0) return poll_socket(t, why);
    if (is(t, "/remember") || is(t, "/haunt")) {
        atomic_store(&remembered, t->request);
        if (is(t, "/haunt")) atomic_store(&haunting, 1);
        host->respond(t->request, 200, NULL, 0, text("remembered"));
    } else if (is(t, "/garbage")) {
        call_garbage(t->request);
        respond_count(t->request);
    } else if (is(t, "/garbage-thread")) {
        if (step == 0) {
            start(t, garbage_thread);
            return PENDING;
        }
        respond_count(t->request);
    } else if (is(t, "/metrics")) {
        count();
        respond_count(t->request);
    } else if (is(t, "/wrong")) {
        respond_count(t->request);
    } else if (is(t, "/counts")) {
        char words[80];
        snprintf(words, sizeof words, "begun %d cancelled %d finished %d dropped %d", atomic_load(&begun),
                 atomic_load(&cancelled), atomic_load(&finished), atomic_load(&dropped));
        host->respond(t->request, 200, NULL, 0, text(words));
    } else if (is(t, "/thread") || is(t, "/thread-stream")) {
        if (step == 0) {
            start(t, answer_thread);
            return PENDING;
        }
        /* The stream's second half is still to come. */
        return is(t, "/thread") || step > 1 ? OK : PENDING;
    } else if (is(t, "/no-answer")) {
        return OK;
    } else if (is(t, "/unknown-status")) {
        return 77;
    } else if (is(t, "/poll-fails")) {
        host->fail(text("poll says no"));
        return FAILED;
    } else if (is(t, "/no-end")) {
        if (step > 0) return OK;
        host->respond_start(t->request, 200, NULL, 0);
        host->body_write(t->request, text("half"));
        start(t, finish_thread);
        return PENDING;
    } else {
        return poll_out_of_turn(t);
    }
    return OK;
}

static void module_drop(void *instance, uint64_t handle) {
    (void)instance;
    task *t = (task *)(uintptr_t)handle;
    if (atomic_load(&t->threaded)) pthread_join(t->thread, NULL);
    if (is(t, "/cancel")) atomic_fetch_add(&dropped, 1);
}

static void module_fini(void *instance) {
    (void)instance;
    if (!atomic_load(&haunting)) return;
    /* Against the rules: a thread that outlives the generation. */
    pthread_t thread;
    if (pthread_create(&thread, NULL, haunt, NULL) == 0) pthread_detach(thread);
}

int32_t midplane_module_entry(const host_table *table, module_table *out) {
    host = table;
    *out = (module_table){.size = sizeof *out,
                          .abi_major = 1,
                          .init = module_init,
                          .begin = module_begin,
                          .poll = module_poll,
                          .drop_task = module_drop,
                          .fini = module_fini};
    return OK;
}
