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

#define MP_NOTE_NAME "@NOTE_NAME@"
#define MP_SDK "midplane.h @VERSION@"

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

@LAYOUTS@

#ifdef __cplusplus
}
#endif

#endif
