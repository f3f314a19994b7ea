//! KServe's open inference protocol, version 2, and what Triton adds to it.

pub(super) mod grpc;
pub(super) mod rest;
pub(super) mod triton;
