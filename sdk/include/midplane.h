// midplane.h: the ABI between the Midplane kernel and a module written in C or C++.
//
// Generated from sdk/abi by scripts/generate-header: do not edit. C11 or C++17, 64-bit targets. README.md beside this file
// has a whole module to start from, modules/hello-c two that are tested.
//
// A module is a shared library with two things in it: MP_MODULE_DESCRIPTOR, which the kernel reads from the file before it
// runs any of its code, and midplane_module_entry. Both stand at the end of this file.
//
// Rules:
// - Slices are borrowed for the call only. Whoever wants to keep bytes copies them before returning.
// - Handles, not pointers. A `mp_request` names a slot and its incarnation; a call on a dead one answers
//   `MP_GONE`, from any thread and at any time.
// - A host call never calls back into the module. `mp_host.wake` only enqueues.
// - Answers take effect when `poll` returns. What a module asks for inside `poll` (respond, write, end) is carried
//   out after that.
// - `poll` of one task is serial; tasks run in parallel, on any of the kernel's workers. `drop_task` is called
//   exactly once for every task that `begin` or `on_session` made, whatever `poll` said, and never while that task's
//   code is on a stack.
// - No unwinding leaves a function of `mp_module`. A panic is caught and told as `MP_PANICKED`.
// - Growth. Structs grow at the end only and are guarded by `size`; reserved bits are zero. Anything else raises
//   `MP_ABI_MAJOR`.

#ifndef MIDPLANE_H
#define MIDPLANE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Raised by an incompatible change: a module of another major is refused before it is loaded.
#define MP_ABI_MAJOR 1

/// Raised by an addition: a module that needs a newer minor than the kernel has is refused before it is loaded.
#define MP_ABI_MINOR 0

/// The table's size in the first minor of this major, the least that a module may fill.
#define MP_MODULE_LEN_MIN 104

/// The version that is described here.
#define MP_CALL_API_VERSION 1

/// The note's type.
#define MP_NOTE_TYPE 1

/// The version that is described here.
#define MP_METRICS_API_VERSION 1

/// Why `mp_module.poll` is called.

/// The task was begun or woken.
#define MP_WAKE 0

/// There is room again for `mp_host.body_write` or `mp_host.ws_send`.
#define MP_WRITABLE 1

/// The client left or the session was revoked. Said once; the task is dropped after a grace at the latest.
#define MP_CANCEL 2

/// Levels of `mp_host.log`, as numbers that grow with importance.
#define MP_LEVEL_TRACE 1
#define MP_LEVEL_DEBUG 2
#define MP_LEVEL_INFO 3
#define MP_LEVEL_WARN 4
#define MP_LEVEL_ERROR 5

/// Bits of `mp_request_head.flags`.

/// The request is a valid WebSocket handshake (RFC 6455 section 4.2.1): `mp_host.ws_accept`
/// takes it, any other answer declines it.
#define MP_HEAD_WEBSOCKET 1

/// Kinds of a WebSocket's messages: their opcodes (RFC 6455 section 11.8).

/// UTF-8.
#define MP_MESSAGE_TEXT 1

#define MP_MESSAGE_BINARY 2

/// Bits of `mp_instance.flags`.

/// Sessions for this module must name a secret.
#define MP_INSTANCE_NEEDS_SECRET 1

/// `mp_module.on_session` wants to see a session before it is issued.
#define MP_INSTANCE_CHECKS_SESSIONS 2

/// Bits of `mp_call_head.flags`.

/// It acts for the session of the request it is made for, and ends with that request.
#define MP_CALL_FOR_SESSION 1

/// Kinds of `mp_metric_head.kind`.

/// Only grows, also from one generation to the next.
#define MP_METRIC_COUNTER 1

/// The running generation's own: each begins without a value.
#define MP_METRIC_GAUGE 2

/// As a counter.
#define MP_METRIC_HISTOGRAM 3

/// Bits of `mp_descriptor_body.grants`: what the module wants to be given.

/// The secret of the session a request acts for.
#define MP_GRANT_SECRETS 1

/// Bits of `mp_descriptor_body.flags`.

/// Only one generation at a time may be between `restore` and the end of `fini`, since it owns what two cannot share, such as
/// a database file. At a reload new requests wait while the old generation drains and ends; then the new one is given
/// `restore`, so that is where it opens what it owns. It hands no state over.
#define MP_FLAG_EXCLUSIVE 1

/// What a call answers: `MP_OK` or one of those beside it.
typedef int32_t mp_status;

/// Values of `mp_status`. Negative ones are refusals or failures.

/// Done. From `mp_module.poll`: the task is finished.
#define MP_OK 0

/// Not yet; the task will be polled again when there is more.
#define MP_PENDING 1

/// No more fits now: write on when polled with `MP_WRITABLE`.
/// `mp_host.body_write` has taken the bytes, `mp_host.ws_send` has not.
#define MP_FULL 2

/// The body, or the WebSocket, is at its end.
#define MP_END 3

/// The handle names nothing that lives: the request is over, or the client left.
#define MP_GONE (-1)

/// The operator did not grant this.
#define MP_DENIED (-2)

/// The call makes no sense now or its arguments do not hold, for example a second `respond`.
#define MP_INVALID (-3)

/// It was tried and failed; `mp_host.fail` carried the reason.
#define MP_FAILED (-4)

/// A panic was caught at the boundary; the reason went through `mp_host.fail`.
#define MP_PANICKED (-5)

/// The given buffer is too small; the needed length was written.
#define MP_TOO_SMALL (-6)

/// The request body, the state, or a message is over its limit.
#define MP_TOO_LARGE (-7)

/// The client stopped sending in the middle of the body.
#define MP_DISCONNECTED (-8)

/// No module of that name is loaded.
#define MP_NOT_LOADED (-9)

/// The calls that led here are as many as may follow from one request.
#define MP_TOO_DEEP (-10)

/// Bytes borrowed for one call. `ptr` may be null when `len` is 0; a null `ptr` is how an optional slice is absent.
typedef struct mp_slice {
    const uint8_t *ptr;
    size_t len;
} mp_slice;

/// One header field; names are lower case.
typedef struct mp_header {
    mp_slice name;
    mp_slice value;
} mp_header;

/// The kernel's name for one request under way: slot and incarnation.
typedef uint64_t mp_request;

/// The module's name for one task; the kernel only hands it back.
typedef uint64_t mp_task;

/// The session a request acts for. Valid during `begin` and `on_session` only.
typedef struct mp_session {
    /// `sizeof(mp_session)` of the kernel.
    uint32_t size;
    /// Reserved, zero.
    uint32_t flags;
    /// `ses_…`
    mp_slice id;
    mp_slice user;
    /// Space-separated, opaque to the kernel.
    mp_slice scope;
    /// A JSON object.
    mp_slice metadata;
    /// For example `pro` or `dev`.
    mp_slice environment;
    /// The id of the session's secret; absent when the session has none.
    mp_slice secret_key_id;
    /// Unix seconds: when the token at hand ends.
    uint64_t expires_at;
} mp_session;

/// Which module makes a call. Valid during `begin` only.
typedef struct mp_caller {
    /// `sizeof(mp_caller)` of the kernel.
    uint32_t size;
    /// Reserved, zero.
    uint32_t flags;
    mp_slice module;
    uint64_t generation;
} mp_caller;

/// The head of a request. Valid during `begin` only: copy what is to be kept.
typedef struct mp_request_head {
    /// `sizeof(mp_request_head)` of the kernel.
    uint32_t size;
    /// Bits of `MP_HEAD_*`.
    uint32_t flags;
    mp_slice method;
    /// The path below the module's prefix, with its leading slash, as it was sent (not percent-decoded).
    mp_slice path;
    /// Without the question mark; absent when there was none.
    mp_slice query;
    /// Without `authorization`.
    const mp_header *headers;
    size_t headers_len;
    /// The value of `x-request-id`.
    mp_slice request_id;
    /// Null on a public route that was called without a session, and where a module calls for none.
    const mp_session *session;
    /// Bytes of the body if they are known (0: there is none), else -1.
    int64_t content_length;
    /// The module that makes the request; null when a client does. Only routes that the descriptor names as internal are
    /// open to modules, and those to nobody else.
    const mp_caller *caller;
} mp_request_head;

/// What `mp_module.init` is given. Valid during `init` only.
typedef struct mp_init {
    /// `sizeof(mp_init)` of the kernel.
    uint32_t size;
    /// Reserved, zero.
    uint32_t flags;
    /// Names this generation in `mp_host.log`, `mp_host.body_limit` and `mp_host.state_write`.
    uint64_t owner;
    /// The name the module is mounted under.
    mp_slice name;
    /// Counts the loads of this name since the kernel started; `chat#3` is the third.
    uint64_t generation;
    /// The module's configuration, a JSON object.
    mp_slice config;
    /// The absolute path of a directory for files of the module's own, which the kernel has made: the same for every
    /// generation of this name. Two generations may use it at once.
    mp_slice data_dir;
} mp_init;

/// What `mp_module.init` answers.
typedef struct mp_instance {
    /// Set by the kernel to `sizeof(mp_instance)`.
    uint32_t size;
    /// Bits of `MP_INSTANCE_*`.
    uint32_t flags;
    /// The module's own; the kernel only hands it back.
    void *ptr;
} mp_instance;

/// The functions of a module. `init`, `restore`, `probe`, `quiesce`, `save` and `fini` run on a control thread and may
/// block; the others run on the kernel's workers and must not.
///
/// A generation's life: `init`, `restore`, `probe`; then tasks, until another takes its place, and then `quiesce` and
/// `fini`. `save` comes while tasks may still run.
typedef struct mp_module {
    /// Set by the kernel to its `sizeof(mp_module)` before the entry is called; the module lowers it to its own.
    uint32_t size;
    uint16_t abi_major;
    uint16_t abi_minor;
    /// Reserved, zero.
    uint64_t flags;
    /// Makes the instance. On failure it tells why through `mp_host.fail`.
    mp_status (*init)(const mp_init *init, mp_instance *out);
    /// Once, after `init`: what the generation before handed over, written in a `schema` that the descriptor names, or an
    /// absent slice (and 0) when there is none. It may set further bits of `mp_instance.flags`. `MP_FAILED` refuses,
    /// and the generation before goes on. Must be quick: new requests may wait meanwhile. May be absent. An exclusive module
    /// (`MP_FLAG_EXCLUSIVE`) opens here what it owns; if it refuses, the code of the generation before starts anew.
    mp_status (*restore)(mp_instance *instance, uint32_t schema, mp_slice state);
    /// Once, after `restore`: whether the instance can serve; anything but `MP_OK` refuses the generation. May be
    /// absent: it can.
    mp_status (*probe)(void *instance);
    /// Takes a request and names the task that will answer it; does not answer yet.
    mp_status (*begin)(void *instance, mp_request request, const mp_request_head *head, mp_task *out);
    /// Goes on with a task: `MP_OK` when it is finished, `MP_PENDING`, `MP_FAILED` or
    /// `MP_PANICKED`.
    mp_status (*poll)(void *instance, mp_task task, uint32_t why);
    /// Frees a task.
    void (*drop_task)(void *instance, mp_task task);
    /// Checks a session that is about to be issued: a task like a request's, whose outcome is the answer. `MP_OK`
    /// accepts; `MP_FAILED` refuses with the reason given to `mp_host.fail`. May be absent.
    mp_status (*on_session)(void *instance, mp_request request, const mp_session *session, mp_task *out);
    /// The module's OpenAPI document as JSON, valid until `fini`; an absent slice if it has none. May be absent.
    mp_slice (*openapi)(void *instance);
    /// No new request will come: end what never ends by itself. What is under way may go on for `drain_ms` milliseconds, and is
    /// cut then. Called once. May be absent.
    void (*quiesce)(void *instance, uint64_t drain_ms);
    /// Hands over what is only in memory: writes it with `mp_host.state_write` and puts the schema it is written in to
    /// `schema`, or 0 when there is nothing to hand over. `MP_FAILED` keeps this generation in place. Called again if
    /// the one that was to take over is refused. New requests wait meanwhile; those under way go on. May be absent.
    mp_status (*save)(void *instance, uint32_t *schema);
    /// Frees the instance and joins every thread of the module. No task is left when it is called.
    void (*fini)(void *instance);
} mp_module;

/// The functions of the kernel. All of them may be called from any thread.
typedef struct mp_host {
    /// `sizeof(mp_host)` of the kernel: a function beyond it is not there.
    uint32_t size;
    uint16_t abi_major;
    uint16_t abi_minor;
    /// Says why the call of the module that is on this thread's stack is about to fail. UTF-8, for a person to read.
    void (*fail)(mp_slice message);
    /// Writes a log line. `request` is 0 when it belongs to none; `target` is the place in the module's code; `fields` is
    /// a JSON object or absent. Never blocks.
    void (*log)(uint64_t owner,
                mp_request request,
                uint32_t level,
                mp_slice target,
                mp_slice message,
                mp_slice fields);
    /// The least `MP_LEVEL_*` that is written for this module now.
    uint32_t (*log_level)(uint64_t owner);
    /// Has the request's task polled again soon. Enqueues only.
    mp_status (*wake)(mp_request request);
    /// Copies up to `cap` bytes of the request body to `dst`, their number to `len`. `MP_OK`, `MP_PENDING`
    /// (the task is polled when there are more), `MP_END`, or why there will be no more.
    mp_status (*body_read)(mp_request request, uint8_t *dst, size_t cap, size_t *len);
    /// A whole response in one call. `content-length` is set by the kernel.
    mp_status (*respond)(mp_request request,
                         uint16_t status,
                         const mp_header *headers,
                         size_t headers_len,
                         mp_slice body);
    /// The head of a response whose body follows by `mp_host.body_write` and `mp_host.body_end`.
    mp_status (*respond_start)(mp_request request, uint16_t status, const mp_header *headers, size_t headers_len);
    /// Adds to the response body. Takes all of `bytes` or, over the window and answering `MP_FULL` with the first
    /// byte over it, still all of them: stop writing then. `MP_INVALID` after a `MP_FULL` that was not heeded.
    mp_status (*body_write)(mp_request request, mp_slice bytes);
    /// Ends the response body as it should end.
    mp_status (*body_end)(mp_request request);
    /// Copies the session's secret to `dst`, its length to `len`. `MP_DENIED` without the grant, `MP_GONE`
    /// when the session has none (any more), `MP_PENDING` when it has changed and has to be asked for with
    /// `secret_refresh`, `MP_TOO_SMALL` (4 KiB always suffices).
    mp_status (*secret_get)(mp_request request, uint8_t *dst, size_t cap, size_t *len);
    /// Asks the secret's source again. The first call starts it and answers `MP_PENDING`; the task is polled when
    /// it is done, and the next call answers `MP_OK` or `MP_FAILED`, with the reason in `dst`/`len`.
    mp_status (*secret_refresh)(mp_request request, uint8_t *dst, size_t cap, size_t *len);
    /// Allows bodies of up to `bytes` on `pattern` (a path, or a prefix that ends in `/*`). During `mp_module.init` and
    /// `mp_module.restore` only.
    mp_status (*body_limit)(uint64_t owner, mp_slice pattern, uint64_t bytes);
    /// Adds to the state that is handed over. During `mp_module.save` only, else `MP_INVALID`;
    /// `MP_TOO_LARGE` over `[limits] state_bytes`.
    mp_status (*state_write)(uint64_t owner, mp_slice bytes);
    /// A table of functions by name and version: `mp_call_api` for `call`, 1; `mp_metrics_api` for `metrics`, 1. Null when this
    /// kernel has none of it. It stays valid for as long as the module is loaded.
    const void *(*get_api)(mp_slice name, uint32_t version);
    /// Answers a request with `MP_HEAD_WEBSOCKET` by opening the WebSocket; messages may be sent at once. `protocol` is one of
    /// those in `sec-websocket-protocol`, or absent; `headers` are added to the answer. Messages of more than `message_bytes`
    /// close the socket with 1009; 0, or more than `[limits] websocket_message_bytes`, is that limit. The task goes on as the
    /// socket's: when it ends, the kernel closes with 1000, or with 1011 if it failed. Pings are the kernel's.
    mp_status (*ws_accept)(mp_request request,
                           mp_slice protocol,
                           const mp_header *headers,
                           size_t headers_len,
                           size_t message_bytes);
    /// Takes the next message: copies it to `dst`, its length to `len`, its `MP_MESSAGE_*` kind to `kind`. `MP_PENDING`
    /// (the task is polled when there is one), `MP_TOO_SMALL` with the needed length, the message left where it is, or
    /// `MP_END`, with the close code (RFC 6455 section 7.4; 1005: none was given, 1006: the client vanished) in `kind`
    /// and the reason, cut to `cap`, in `dst` and `len`. After END the task has a moment to finish.
    mp_status (*ws_recv)(mp_request request, uint32_t *kind, uint8_t *dst, size_t cap, size_t *len);
    /// Sends a message of a `MP_MESSAGE_*` kind. `MP_FULL`: it was not taken, send it again when polled with
    /// `MP_WRITABLE`. `MP_INVALID` for text that is not UTF-8, `MP_TOO_LARGE` over `[limits]
    /// websocket_message_bytes`, `MP_GONE` once the socket is closed, by whichever side.
    mp_status (*ws_send)(mp_request request, uint32_t kind, mp_slice bytes);
    /// Closes the WebSocket after what was sent. `code` is 1000 to 1003, 1007 to 1013 or 3000 to 4999, `reason` UTF-8 of up
    /// to 123 bytes; `MP_INVALID` else. `mp_host.ws_recv` ends with `MP_END` after it.
    mp_status (*ws_close)(mp_request request, uint16_t code, mp_slice reason);
} mp_host;

/// The kernel's name for one call under way. No two calls have the same.
typedef uint64_t mp_call;

/// What is asked of another module. Borrowed for the call of `mp_call_api.start`.
typedef struct mp_call_head {
    /// `sizeof(mp_call_head)` of the module.
    uint32_t size;
    /// Bits of `MP_CALL_*`.
    uint32_t flags;
    /// The name of the module that is called.
    mp_slice module;
    mp_slice method;
    /// Below that module's prefix, with its leading slash.
    mp_slice path;
    /// Without the question mark; absent when there is none.
    mp_slice query;
    const mp_header *headers;
    size_t headers_len;
    /// Bytes of the body if they are known (0: there is none), else -1.
    int64_t content_length;
} mp_call_head;

/// Calls to other modules. All functions may be called from any thread. Those that may have to wait take a `waiter`: the
/// request whose task is polled when they should be called again, or 0 for `mp_call_api.news`.
typedef struct mp_call_api {
    /// `sizeof(mp_call_api)` of the kernel: a function beyond it is not there.
    uint32_t size;
    /// Reserved, zero.
    uint32_t flags;
    /// Starts a call. `request` is the one during which it is made, or 0: what it calls in turn counts towards the depth that
    /// ends cycles. `MP_DENIED` without the grant, `MP_FULL` when
    /// the module has as many under way as it may have, `MP_INVALID` for a head that is no
    /// request's, `MP_GONE` when the request, or the module, is over.
    mp_status (*start)(uint64_t owner, mp_request request, const mp_call_head *head, mp_call *out);
    /// Adds to the body of the call. `MP_PENDING`: it was not taken, try again when told.
    /// `MP_GONE` when nobody reads it any more; the answer may come all the same.
    mp_status (*body_write)(mp_call call, mp_request waiter, mp_slice bytes);
    /// The body of the call is whole. Not needed where the head says its length, and all of it was written.
    mp_status (*body_end)(mp_call call);
    /// The head of the answer, once: its status to `status`, its fields to `dst` as lines `name: value` that end with CR LF,
    /// their length to `len`. `MP_PENDING`, `MP_TOO_SMALL` with
    /// the needed length, or why there is none: `MP_NOT_LOADED`,
    /// `MP_TOO_DEEP`, `MP_GONE`.
    mp_status (*response)(mp_call call, mp_request waiter, uint16_t *status, uint8_t *dst, size_t cap, size_t *len);
    /// Copies up to `cap` bytes of the answer's body to `dst`, their number to `len`. `MP_OK`,
    /// `MP_PENDING`, `MP_END`, or
    /// `MP_DISCONNECTED` when it was cut.
    mp_status (*body_read)(mp_call call, mp_request waiter, uint8_t *dst, size_t cap, size_t *len);
    /// Forgets the call; one that is not over is cancelled. Due for every call that was started.
    mp_status (*forget)(mp_call call);
    /// Gives the module a descriptor that becomes readable when there is `mp_call_api.news`, and is the module's to close.
    /// Once; `MP_INVALID` after that.
    mp_status (*listen)(uint64_t owner, int32_t *descriptor);
    /// Which calls that wait with 0 should be looked at: up to `cap` of them to `dst`, their number to `len`. After a byte was
    /// read from the descriptor, until there are none.
    mp_status (*news)(uint64_t owner, mp_call *dst, size_t cap, size_t *len);
} mp_call_api;

/// The kernel's name for a metric of this generation's.
typedef uint64_t mp_metric;

/// The kernel's name for one series; never used again when that has gone.
typedef uint64_t mp_series;

/// What a metric is. Borrowed for the call of `mp_metrics_api.metric`.
typedef struct mp_metric_head {
    /// `sizeof(mp_metric_head)` of the module.
    uint32_t size;
    /// One of `MP_METRIC_*`.
    uint32_t kind;
    /// As OpenMetrics has it, without colons and without a suffix of OpenMetrics' own (`_total`); the kernel adds
    /// `midplane_module_`, the module's name and `_` in front.
    mp_slice name;
    /// A sentence for people.
    mp_slice help;
    /// Of a histogram: the upper bounds of its buckets, growing, without infinity.
    const double *bounds;
    size_t bounds_len;
} mp_metric_head;

/// Numbers in `GET /metrics`. All functions may be called from any thread. What they refuse is counted, and logged once.
typedef struct mp_metrics_api {
    /// `sizeof(mp_metrics_api)` of the kernel: a function beyond it is not there.
    uint32_t size;
    /// Reserved, zero.
    uint32_t flags;
    /// Declares a metric, or finds the one of that name. `MP_INVALID` for a name, a help or
    /// bounds that cannot be, or where this generation has declared it otherwise; `MP_FULL` over
    /// the number of metrics a module may have.
    mp_status (*metric)(uint64_t owner, const mp_metric_head *head, mp_metric *out);
    /// Finds or begins the series with these labels, in any order. With a `session`'s id, of a counter only, what is added
    /// counts for the series without it and, in a metric of its own whose name ends with `_by_session`, for the session, until
    /// that ends. `MP_FULL` over the number of series a metric may have: what is added to `out` is
    /// counted as dropped. `MP_INVALID` for labels that cannot be.
    mp_status (*series)(uint64_t owner,
                        mp_metric metric,
                        const mp_header *labels,
                        size_t labels_len,
                        mp_slice session,
                        mp_series *out);
    /// Adds to a counter, or to a gauge, which may also go down. `MP_GONE`: the series has gone, as
    /// with its session; ask for it again.
    mp_status (*add)(mp_series series, int64_t n);
    /// Sets a gauge; to no infinity, and a number.
    mp_status (*set)(mp_series series, double value);
    /// Puts a value into a histogram: 0 or more.
    mp_status (*observe)(mp_series series, double value);
} mp_metrics_api;

/// The note's description. Texts are UTF-8 and end at the first zero byte or with the field.
typedef struct mp_descriptor_body {
    /// `MIDPLANE`
    uint8_t magic[8];
    /// `sizeof(mp_descriptor_body)` of the one who wrote it.
    uint32_t len;
    uint16_t abi_major;
    /// The least minor that the module can live with.
    uint16_t abi_minor;
    /// Bits of `MP_GRANT_*`.
    uint32_t grants;
    /// Bits of `MP_FLAG_*`; all others are reserved and zero.
    uint32_t flags;
    /// The schemas of handed-over state that the module reads, both inclusive; 0 and 0: it keeps none.
    uint32_t state_schema_min;
    uint32_t state_schema_max;
    uint8_t name[64];
    /// A semantic version.
    uint8_t version[64];
    /// Routes that need no session, one a line: a path, or a prefix that ends in `/*`. Effective only where the operator
    /// allows the module public routes.
    uint8_t public_routes[256];
    /// Routes that only other modules may call, in the same form.
    uint8_t internal_routes[256];
    /// Modules it wants to call, one a line.
    uint8_t calls[256];
    /// For people only: what it was written with.
    uint8_t sdk[64];
    uint8_t compiler[64];
} mp_descriptor_body;

/// The whole note, header included: what is placed in the section.
typedef struct mp_descriptor {
    uint32_t name_len;
    uint32_t body_len;
    uint32_t note_type;
    /// `MP_NOTE_NAME`, padded to four bytes.
    uint8_t note_name[12];
    mp_descriptor_body body;
} mp_descriptor;

/// The type of `midplane_module_entry`. `host` stays valid for as long as the module is loaded.
typedef mp_status (*mp_entry)(const mp_host *host, mp_module *out);

// The one function a module exports. It fills `out` and answers `MP_OK`, and does nothing else: the instance is made by
// `mp_module.init`. Functions that the module has no use for and that may be absent stay null.
__attribute__((visibility("default"))) mp_status midplane_module_entry(const mp_host *host, mp_module *out);

// The descriptor, once in a library and outside of any function: a second one does not link.
//
//     MP_MODULE_DESCRIPTOR("hello", "0.1.0");
#define MP_MODULE_DESCRIPTOR(name, version) MP_MODULE_DESCRIPTOR_WITH(name, version, 0, 0, 0, 0, "", "", "")

// The same with all that a module can say of itself: the bits of `MP_GRANT_*` it wants and of `MP_FLAG_*`, the first and the
// last schema of handed-over state it reads (0 and 0: none), its public routes, its internal ones and the modules it calls,
// each one a line. All of them constants.
#define MP_MODULE_DESCRIPTOR_WITH(name, version, grants, flags, schema_min, schema_max, public_routes, internal_routes,  \
                                  calls)                                                                                 \
    static_assert(sizeof(name) <= 64 && sizeof(version) <= 64, "a text of the descriptor is too long for its field");    \
    static_assert(sizeof(public_routes) <= 256 && sizeof(internal_routes) <= 256 && sizeof(calls) <= 256,                \
                  "a list of the descriptor is too long");                                                               \
    __attribute__((used, section(MP_DESCRIPTOR_SECTION), aligned(4))) const mp_descriptor mp_module_descriptor = {       \
        sizeof MP_NOTE_NAME,                                                                                             \
        sizeof(mp_descriptor_body),                                                                                      \
        MP_NOTE_TYPE,                                                                                                    \
        MP_NOTE_NAME,                                                                                                    \
        {{'M', 'I', 'D', 'P', 'L', 'A', 'N', 'E'},                                                                       \
         sizeof(mp_descriptor_body),                                                                                     \
         MP_ABI_MAJOR,                                                                                                   \
         MP_ABI_MINOR,                                                                                                   \
         grants,                                                                                                         \
         flags,                                                                                                          \
         schema_min,                                                                                                     \
         schema_max,                                                                                                     \
         name,                                                                                                           \
         version,                                                                                                        \
         public_routes,                                                                                                  \
         internal_routes,                                                                                                \
         calls,                                                                                                          \
         MP_SDK,                                                                                                         \
         MP_COMPILER}}

extern __attribute__((visibility("hidden"))) const mp_descriptor mp_module_descriptor;

#define MP_NOTE_NAME "Midplane"
#define MP_SDK "midplane.h 0.1.0"

#ifdef __APPLE__
#define MP_DESCRIPTOR_SECTION "__DATA,__midplane"
#else
#define MP_DESCRIPTOR_SECTION ".note.midplane"
#endif

#define MP_TEXT_OF_(x) #x
#define MP_TEXT_OF(x) MP_TEXT_OF_(x)
#if defined(__clang__)
#define MP_COMPILER "clang " MP_TEXT_OF(__clang_major__) "." MP_TEXT_OF(__clang_minor__)
#elif defined(__GNUC__)
#define MP_COMPILER "gcc " MP_TEXT_OF(__GNUC__) "." MP_TEXT_OF(__GNUC_MINOR__)
#else
#define MP_COMPILER "unknown"
#endif

// `len` bytes at `ptr`, borrowed.
static inline mp_slice mp_bytes(const void *ptr, size_t len) {
    mp_slice slice = {(const uint8_t *)ptr, len};
    return slice;
}

// A text that ends with a zero byte, borrowed.
static inline mp_slice mp_text(const char *text) { return mp_bytes(text, strlen(text)); }

// The absent slice.
static inline mp_slice mp_none(void) { return mp_bytes(NULL, 0); }

// Whether the slice is this text.
static inline int mp_is(mp_slice slice, const char *text) {
    return slice.ptr != NULL && slice.len == strlen(text) && memcmp(slice.ptr, text, slice.len) == 0;
}

// The layouts: a compiler that would lay them out otherwise says so here.
#define MP_AT(type, field, offset) static_assert(offsetof(type, field) == offset, #type "." #field)
static_assert(sizeof(mp_slice) == 16, "size of mp_slice"); MP_AT(mp_slice, ptr, 0); MP_AT(mp_slice, len, 8);
static_assert(sizeof(mp_header) == 32, "size of mp_header"); MP_AT(mp_header, name, 0); MP_AT(mp_header, value, 16);
static_assert(sizeof(mp_session) == 112, "size of mp_session"); MP_AT(mp_session, size, 0); MP_AT(mp_session, flags, 4);
MP_AT(mp_session, id, 8); MP_AT(mp_session, user, 24); MP_AT(mp_session, scope, 40); MP_AT(mp_session, metadata, 56);
MP_AT(mp_session, environment, 72); MP_AT(mp_session, secret_key_id, 88); MP_AT(mp_session, expires_at, 104);
static_assert(sizeof(mp_request_head) == 112, "size of mp_request_head"); MP_AT(mp_request_head, size, 0);
MP_AT(mp_request_head, flags, 4); MP_AT(mp_request_head, method, 8); MP_AT(mp_request_head, path, 24);
MP_AT(mp_request_head, query, 40); MP_AT(mp_request_head, headers, 56); MP_AT(mp_request_head, headers_len, 64);
MP_AT(mp_request_head, request_id, 72); MP_AT(mp_request_head, session, 88); MP_AT(mp_request_head, content_length, 96);
MP_AT(mp_request_head, caller, 104);
static_assert(sizeof(mp_init) == 72, "size of mp_init"); MP_AT(mp_init, size, 0); MP_AT(mp_init, flags, 4);
MP_AT(mp_init, owner, 8); MP_AT(mp_init, name, 16); MP_AT(mp_init, generation, 32); MP_AT(mp_init, config, 40);
MP_AT(mp_init, data_dir, 56);
static_assert(sizeof(mp_instance) == 16, "size of mp_instance"); MP_AT(mp_instance, size, 0);
MP_AT(mp_instance, flags, 4); MP_AT(mp_instance, ptr, 8);
static_assert(sizeof(mp_module) == 104, "size of mp_module"); MP_AT(mp_module, size, 0); MP_AT(mp_module, abi_major, 4);
MP_AT(mp_module, abi_minor, 6); MP_AT(mp_module, flags, 8); MP_AT(mp_module, init, 16); MP_AT(mp_module, restore, 24);
MP_AT(mp_module, probe, 32); MP_AT(mp_module, begin, 40); MP_AT(mp_module, poll, 48); MP_AT(mp_module, drop_task, 56);
MP_AT(mp_module, on_session, 64); MP_AT(mp_module, openapi, 72); MP_AT(mp_module, quiesce, 80);
MP_AT(mp_module, save, 88); MP_AT(mp_module, fini, 96);
static_assert(sizeof(mp_host) == 152, "size of mp_host"); MP_AT(mp_host, size, 0); MP_AT(mp_host, abi_major, 4);
MP_AT(mp_host, abi_minor, 6); MP_AT(mp_host, fail, 8); MP_AT(mp_host, log, 16); MP_AT(mp_host, log_level, 24);
MP_AT(mp_host, wake, 32); MP_AT(mp_host, body_read, 40); MP_AT(mp_host, respond, 48); MP_AT(mp_host, respond_start, 56);
MP_AT(mp_host, body_write, 64); MP_AT(mp_host, body_end, 72); MP_AT(mp_host, secret_get, 80);
MP_AT(mp_host, secret_refresh, 88); MP_AT(mp_host, body_limit, 96); MP_AT(mp_host, state_write, 104);
MP_AT(mp_host, get_api, 112); MP_AT(mp_host, ws_accept, 120); MP_AT(mp_host, ws_recv, 128);
MP_AT(mp_host, ws_send, 136); MP_AT(mp_host, ws_close, 144);
static_assert(sizeof(mp_call_head) == 96, "size of mp_call_head"); MP_AT(mp_call_head, size, 0);
MP_AT(mp_call_head, flags, 4); MP_AT(mp_call_head, module, 8); MP_AT(mp_call_head, method, 24);
MP_AT(mp_call_head, path, 40); MP_AT(mp_call_head, query, 56); MP_AT(mp_call_head, headers, 72);
MP_AT(mp_call_head, headers_len, 80); MP_AT(mp_call_head, content_length, 88);
static_assert(sizeof(mp_caller) == 32, "size of mp_caller"); MP_AT(mp_caller, size, 0); MP_AT(mp_caller, flags, 4);
MP_AT(mp_caller, module, 8); MP_AT(mp_caller, generation, 24);
static_assert(sizeof(mp_call_api) == 72, "size of mp_call_api"); MP_AT(mp_call_api, size, 0);
MP_AT(mp_call_api, flags, 4); MP_AT(mp_call_api, start, 8); MP_AT(mp_call_api, body_write, 16);
MP_AT(mp_call_api, body_end, 24); MP_AT(mp_call_api, response, 32); MP_AT(mp_call_api, body_read, 40);
MP_AT(mp_call_api, forget, 48); MP_AT(mp_call_api, listen, 56); MP_AT(mp_call_api, news, 64);
static_assert(sizeof(mp_metric_head) == 56, "size of mp_metric_head"); MP_AT(mp_metric_head, size, 0);
MP_AT(mp_metric_head, kind, 4); MP_AT(mp_metric_head, name, 8); MP_AT(mp_metric_head, help, 24);
MP_AT(mp_metric_head, bounds, 40); MP_AT(mp_metric_head, bounds_len, 48);
static_assert(sizeof(mp_metrics_api) == 48, "size of mp_metrics_api"); MP_AT(mp_metrics_api, size, 0);
MP_AT(mp_metrics_api, flags, 4); MP_AT(mp_metrics_api, metric, 8); MP_AT(mp_metrics_api, series, 16);
MP_AT(mp_metrics_api, add, 24); MP_AT(mp_metrics_api, set, 32); MP_AT(mp_metrics_api, observe, 40);
static_assert(sizeof(mp_descriptor_body) == 1056, "size of mp_descriptor_body"); MP_AT(mp_descriptor_body, magic, 0);
MP_AT(mp_descriptor_body, len, 8); MP_AT(mp_descriptor_body, abi_major, 12); MP_AT(mp_descriptor_body, abi_minor, 14);
MP_AT(mp_descriptor_body, grants, 16); MP_AT(mp_descriptor_body, flags, 20);
MP_AT(mp_descriptor_body, state_schema_min, 24); MP_AT(mp_descriptor_body, state_schema_max, 28);
MP_AT(mp_descriptor_body, name, 32); MP_AT(mp_descriptor_body, version, 96);
MP_AT(mp_descriptor_body, public_routes, 160); MP_AT(mp_descriptor_body, internal_routes, 416);
MP_AT(mp_descriptor_body, calls, 672); MP_AT(mp_descriptor_body, sdk, 928); MP_AT(mp_descriptor_body, compiler, 992);
static_assert(sizeof(mp_descriptor) == 1080, "size of mp_descriptor"); MP_AT(mp_descriptor, name_len, 0);
MP_AT(mp_descriptor, body_len, 4); MP_AT(mp_descriptor, note_type, 8); MP_AT(mp_descriptor, note_name, 12);
MP_AT(mp_descriptor, body, 24);
#undef MP_AT

#ifdef __cplusplus
}
#endif

#endif
