//! How the kernel hands this process its memory.

/// In small pages. The allocator asks for huge ones (2 MiB), of which one value that is kept holds the whole: an idle recorder took
/// 15 MiB more, and one under load grew by twice what it held.
pub(in crate::record) fn small() {
    // Not fatal: a kernel without huge pages has none to leave out.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
