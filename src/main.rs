//! The `reenact` binary.

fn main() {}
