//! The `reenact` binary: everything it does is in the library, under `cli`.

use std::process::ExitCode;

/// Fewer page faults and less lock traffic under many small bodies than the system's: about a tenth of the proxy's CPU time
/// (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    reenact::cli::run(std::env::args_os())
}
