/* modules/hello in C: the smallest correct module, answer for answer the same. See README.md. */
#include <midplane.h>
#include <stdlib.h>

MP_MODULE_DESCRIPTOR("hello", "0.1.0");

/* Set once, before any other call. */
static const mp_host *host;

/* A request under way: what is needed of its head, which is gone when `begin` returns. */
typedef struct task {
    mp_request request;
    enum { HELLO, WRONG_METHOD, NOT_FOUND } answer;
    size_t len;
    char text[]; /* `len` bytes: the answer to a request for /hello */
} task;

static mp_status init(const mp_init *given, mp_instance *out) {
    (void)given;
    out->ptr = NULL; /* There is nothing to remember between requests. */
    return MP_OK;
}

static void fini(void *instance) { (void)instance; }

static mp_status begin(void *instance, mp_request request, const mp_request_head *head, mp_task *out) {
    static const char greeting[] = "hello ";
    const size_t greeting_len = sizeof greeting - 1;
    /* None of the routes is public: there is a session. */
    const mp_slice user = head->session->user;
    (void)instance;

    task *t = malloc(sizeof *t + greeting_len + user.len);
    if (t == NULL) {
        host->fail(mp_text("there is no memory for a request"));
        return MP_FAILED;
    }
    t->request = request;
    t->len = greeting_len + user.len;
    memcpy(t->text, greeting, greeting_len);
    if (user.len > 0) memcpy(t->text + greeting_len, user.ptr, user.len);
    if (!mp_is(head->path, "/hello")) {
        t->answer = NOT_FOUND;
    } else if (mp_is(head->method, "GET") || mp_is(head->method, "HEAD")) {
        t->answer = HELLO; /* To HEAD the kernel sends the head of it. */
    } else {
        t->answer = WRONG_METHOD;
    }
    *out = (mp_task)(uintptr_t)t;
    return MP_OK;
}

static mp_status poll(void *instance, mp_task name, uint32_t why) {
    const task *t = (const task *)(uintptr_t)name;
    const mp_header type = {mp_text("content-type"), mp_text("text/plain; charset=utf-8")};
    const mp_header allow = {mp_text("allow"), mp_text("GET,HEAD")};
    (void)instance;
    if (why == MP_CANCEL) return MP_OK; /* The client left before it was answered. */
    switch (t->answer) {
    case HELLO: host->respond(t->request, 200, &type, 1, mp_bytes(t->text, t->len)); break;
    case WRONG_METHOD: host->respond(t->request, 405, &allow, 1, mp_none()); break;
    case NOT_FOUND: host->respond(t->request, 404, NULL, 0, mp_none()); break;
    }
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
        .begin = begin,
        .poll = poll,
        .drop_task = drop_task,
        .fini = fini,
    };
    return MP_OK;
}
