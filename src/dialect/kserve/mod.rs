//! KServe's open inference protocol, version 2, and what Triton adds to it.

pub(super) mod grpc;
pub(super) mod rest;
pub(super) mod triton;

use crate::shape::TensorType;

/// What a tensor's `datatype` says.
fn datatype(word: &[u8]) -> TensorType {
    match word {
        b"BOOL" => TensorType::Bool,
        b"UINT8" => TensorType::Uint8,
        b"UINT16" => TensorType::Uint16,
        b"UINT32" => TensorType::Uint32,
        b"UINT64" => TensorType::Uint64,
        b"INT8" => TensorType::Int8,
        b"INT16" => TensorType::Int16,
        b"INT32" => TensorType::Int32,
        b"INT64" => TensorType::Int64,
        b"FP16" => TensorType::Fp16,
        b"BF16" => TensorType::Bf16,
        b"FP32" => TensorType::Fp32,
        b"FP64" => TensorType::Fp64,
        b"BYTES" => TensorType::Bytes,
        _ => TensorType::Other,
    }
}
