//! The `reenact` binary: everything it does is in the library, under `cli`.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

/// Fewer page faults and less lock traffic under many small bodies than the system's: about a tenth of the proxy's CPU time
/// (docs/performance.md). Whatever is freed is wiped first, so that prompts, answers and keys do not outlive their exchanges in
/// this process's memory, whichever library held them (docs/privacy.md).
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

fn main() -> ExitCode {
    reenact::cli::run(std::env::args_os())
}
