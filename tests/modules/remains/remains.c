/* A module that leaves something behind, as its configuration names it, so that its code cannot go, or goes all the same.
 *
 * tests/rust/modules/unload.rs compiles it against midplane.h.
 */
#define _GNU_SOURCE
#include <midplane.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

MP_MODULE_DESCRIPTOR("remains", "1.0.0");

static const mp_host *host;
static uint64_t owner;

/* Runs until this file is there, and then for a moment longer in this library's code. */
static char release[256];

static int is_released(void) { return access(release, F_OK) == 0; }

static void *linger(void *given) {
    (void)given;
    while (!is_released()) usleep(1000);
    /* The last call of the host, and then the way back. */
    host->log(owner, 0, MP_LEVEL_INFO, mp_text("remains"), mp_text("the thread ends"), mp_none());
    usleep(20000);
    return NULL;
}

static void handle(int number) { (void)number; }

static void nothing(void *value) { (void)value; }

static int has(mp_slice config, const char *word) {
    return config.ptr != NULL && memmem(config.ptr, config.len, word, strlen(word)) != NULL;
}

static mp_status init(const mp_init *given, mp_instance *out) {
    out->ptr = NULL;
    owner = given->owner;
    const char *path = getenv("REMAINS_RELEASE");
    strncpy(release, path == NULL ? "/nowhere" : path, sizeof release - 1);
    if (has(given->config, "\"thread\"")) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, linger, NULL) != 0) return MP_FAILED;
        pthread_setname_np(thread, "lingerer");
        pthread_detach(thread);
    }
    if (has(given->config, "\"handler\"")) signal(SIGUSR2, handle);
    if (has(given->config, "\"keys\"")) {
        pthread_key_t key, other;
        if (pthread_key_create(&key, nothing) != 0 || pthread_key_create(&other, NULL) != 0) return MP_FAILED;
        pthread_setspecific(key, &owner);
    }
    return MP_OK;
}

static void fini(void *instance) { (void)instance; }

static mp_status begin(void *instance, mp_request request, const mp_request_head *head, mp_task *out) {
    (void)instance;
    (void)head;
    *out = request;
    return MP_OK;
}

static mp_status poll(void *instance, mp_task task, uint32_t why) {
    (void)instance;
    if (why != MP_CANCEL) host->respond(task, 200, NULL, 0, mp_text("here"));
    return MP_OK;
}

static void drop_task(void *instance, mp_task task) {
    (void)instance;
    (void)task;
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
