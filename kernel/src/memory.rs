//! What the process keeps of the memory that it has freed. The allocator is the C library's, for kernel and modules alike.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(
        unsafe_code,
        reason = "no crate has a safe mallopt(3) or malloc_trim(3)"
    )
)]

/// Has `threads` pools of free memory instead of eight for each processor, as glibc would (mallopt(3), `M_ARENA_MAX`). Memory
/// that one pool has back, threads of another cannot have: with a pool for nearly every thread, two hundred streams at once
/// took half as much memory again as what was in use. More threads than these work rarely, and share. What the environment
/// says (`MALLOC_ARENA_MAX`) goes before.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn share_free_memory(threads: usize) {
    let pools = i32::try_from(threads).unwrap_or(i32::MAX);
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        // SAFETY: it sets a number of the allocator's; with a parameter that it does not know it does nothing.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, pools);
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn share_free_memory(_threads: usize) {}

/// What a generation has freed at its end, or a module process in a busy time, lies between what others have: whole pages of it
/// go back to the system.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes the allocator's own locks, and has no other precondition.
    unsafe {
        libc::malloc_trim(0);
    }
}
