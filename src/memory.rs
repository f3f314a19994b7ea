//! How the kernel gives this process memory.

/// Has memory come in small pages, for what may not stand still.
///
/// The allocator asks for huge ones (2 MiB) where a system leaves that to programs, as most do. They save a tenth to a third of the time of work that
/// goes through much memory; but each is zeroed at its first touch as one piece of the kernel's work, in which its thread carries nothing:
/// a tenth of a millisecond at best, and six where a host first had to find the memory for its guest.
pub(crate) fn in_small_pages() {
    #[cfg(target_os = "linux")]
    {
        // A refusal costs such a moment now and then.
        let _ = rustix::thread::disable_transparent_huge_pages(true);
    }
}
