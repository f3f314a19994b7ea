//! The pages of fixtures/metrics, each held to what must be read from it.

use super::engine::Diary;
use super::signals::{EngineKind as E, Reading, Signal as S, read};

/// A page, whose it is, its signals, and its GPUs as (source, index, used MiB, total MiB).
type Case = (
    &'static str,
    Option<E>,
    &'static [(S, f64)],
    &'static [(&'static str, u32, u64, u64)],
);

const CASES: &[Case] = &[
    (
        include_str!("../../fixtures/metrics/vllm-v1.prom"),
        Some(E::Vllm),
        &[
            (S::Running, 21.0),
            (S::Waiting, 3.0),
            (S::KvUsage, 0.6125),
            (S::Preemptions, 5.0),
            (S::PrefixQueries, 40_000.0),
            (S::PrefixHits, 10_000.0),
            (S::KvCapacity, 880_000.0),
            (S::HostBytes, 5_368_709_120.0),
            (S::Started, 1_761_120_000.0),
        ],
        &[],
    ),
    (
        include_str!("../../fixtures/metrics/vllm-v0.prom"),
        Some(E::Vllm),
        &[
            (S::Running, 7.0),
            (S::Waiting, 2.0),
            (S::KvUsage, 0.75),
            (S::Preemptions, 11.0),
            (S::PrefixQueries, 800.0),
            (S::PrefixHits, 200.0),
            (S::KvCapacity, 80_000.0),
        ],
        &[],
    ),
    (
        include_str!("../../fixtures/metrics/sglang.prom"),
        Some(E::Sglang),
        &[
            (S::Running, 33.0),
            (S::Waiting, 5.0),
            (S::KvUsage, 0.42),
            (S::Preemptions, 6.0),
            (S::PrefixHitRate, 0.31),
            (S::KvCapacity, 404_000.0),
        ],
        &[],
    ),
    (
        include_str!("../../fixtures/metrics/sglang-0.4.prom"),
        Some(E::Sglang),
        &[
            (S::Running, 4.0),
            (S::Waiting, 2.0),
            (S::KvUsage, 0.28),
            (S::PrefixHitRate, 0.05),
        ],
        &[],
    ),
    (
        include_str!("../../fixtures/metrics/tgi.prom"),
        Some(E::Tgi),
        &[(S::Running, 16.0), (S::Waiting, 7.0)],
        &[],
    ),
    (
        include_str!("../../fixtures/metrics/llama-cpp.prom"),
        Some(E::LlamaCpp),
        &[(S::Running, 4.0), (S::Waiting, 1.0)],
        &[],
    ),
    (
        include_str!("../../fixtures/metrics/llama-cpp-2025.prom"),
        Some(E::LlamaCpp),
        &[(S::Running, 1.0), (S::Waiting, 0.0), (S::KvUsage, 0.125)],
        &[],
    ),
    (
        include_str!("../../fixtures/metrics/triton-tensorrt-llm.prom"),
        Some(E::Triton),
        &[(S::Running, 9.0), (S::Waiting, 3.0), (S::KvUsage, 0.4875)],
        &[("triton", 0, 61_440, 81_920)],
    ),
    (
        include_str!("../../fixtures/metrics/trtllm-serve.prom"),
        Some(E::Trtllm),
        &[
            (S::Running, 6.0),
            (S::Waiting, 2.0),
            (S::KvUsage, 0.55),
            (S::PrefixHitRate, 0.2),
        ],
        &[("tensorrt-llm", 0, 40_960, 0)],
    ),
    (
        include_str!("../../fixtures/metrics/dcgm.prom"),
        None,
        &[],
        &[("dcgm", 0, 73_000, 81_559), ("dcgm", 1, 10_000, 40_000)],
    ),
    (
        include_str!("../../fixtures/metrics/nvidia-gpu-exporter.prom"),
        None,
        &[],
        &[("nvidia_gpu_exporter", 0, 8_192, 49_152)],
    ),
    (
        include_str!("../../fixtures/metrics/amd.prom"),
        None,
        &[],
        &[("amd", 0, 150_000, 196_592), ("amd", 1, 285, 196_592)],
    ),
    (
        include_str!("../../fixtures/metrics/hostile.prom"),
        Some(E::Vllm),
        &[(S::KvUsage, 0.5), (S::Preemptions, 2.0)],
        &[],
    ),
];

#[test]
fn every_page_is_known_and_read() {
    for (page, kind, signals, gpus) in CASES {
        let told: Reading = read(page);
        assert_eq!(told.kind, *kind, "{page}");
        let found: Vec<(S, f64)> = told
            .values
            .iter()
            .map(|(signal, (value, _))| (*signal, *value))
            .collect();
        let mut wanted = signals.to_vec();
        wanted.sort_by_key(|(signal, _)| *signal);
        assert_eq!(found, wanted, "{page}");
        let mut diary = Diary::of("");
        diary.note(0, page);
        let found: Vec<(&str, u32, u64, u64)> = diary
            .gpus
            .gpus
            .iter()
            .map(|gpu| {
                let used = gpu.samples[0].used_bytes;
                (&*gpu.source, gpu.index, used >> 20, gpu.total_bytes >> 20)
            })
            .collect();
        assert_eq!(found, *gpus, "{page}");
    }
}

#[test]
fn a_page_cut_anywhere_is_read_as_far_as_it_goes() {
    for (page, ..) in CASES {
        for end in (0..page.len()).filter(|end| page.is_char_boundary(*end)) {
            let mut diary = Diary::of("");
            diary.note(0, &page[..end]);
            assert!(diary.gpus.gpus.len() <= 3);
        }
    }
}
