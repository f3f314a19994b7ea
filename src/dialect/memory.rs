/// Whether an error's text says that memory ran out, in the words of PyTorch, CUDA, HIP or llama.cpp. Read and let go.
///
/// vLLM's "EngineCore encountered an issue" says nothing of why, and is none of them.
pub fn tells_of_memory(text: &[u8]) -> bool {
    let says = |words: &&str| memchr::memmem::find(text, words.as_bytes()).is_some();
    OUT_OF_MEMORY.iter().any(says)
}

const OUT_OF_MEMORY: [&str; 6] = [
    "out of memory",
    "OutOfMemory",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "cudaErrorMemoryAllocation",
    "hipErrorOutOfMemory",
    "failed to allocate",
];
