//! GPU memory as exporters tell it on a page of theirs.

use super::exposition::{Line, lines};

/// One GPU's memory on one page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GpuReading {
    pub(super) source: &'static str,
    pub(super) index: Option<u32>,
    /// Which MIG instance of that GPU it is.
    pub(super) instance: Option<u32>,
    pub(super) uuid: Option<String>,
    pub(super) name: Option<String>,
    pub(super) used_bytes: Option<u64>,
    pub(super) total_bytes: u64,
    /// The driver's last error on it; 0 where there was none.
    pub(super) xid: Option<u64>,
}

/// Which memory a figure is.
#[derive(Clone, Copy)]
enum Part {
    Used,
    /// In the total beside what is used.
    Rest,
    Total,
    /// No memory: the number of the driver's last error.
    Xid,
}

/// An exporter's figure: who, its name, what it is, bytes in its unit.
const FIGURES: &[(&str, &str, Part, f64)] = &[
    ("dcgm", "DCGM_FI_DEV_FB_USED", Part::Used, MIB),
    ("dcgm", "DCGM_FI_DEV_FB_FREE", Part::Rest, MIB),
    ("dcgm", "DCGM_FI_DEV_FB_RESERVED", Part::Rest, MIB),
    ("dcgm", "DCGM_FI_DEV_XID_ERRORS", Part::Xid, 1.0),
    (
        "nvidia_gpu_exporter",
        "nvidia_smi_memory_used_bytes",
        Part::Used,
        1.0,
    ),
    (
        "nvidia_gpu_exporter",
        "nvidia_smi_memory_total_bytes",
        Part::Total,
        1.0,
    ),
    ("amd", "gpu_used_vram", Part::Used, MIB),
    ("amd", "gpu_total_vram", Part::Total, MIB),
    ("triton", "nv_gpu_memory_used_bytes", Part::Used, 1.0),
    ("triton", "nv_gpu_memory_total_bytes", Part::Total, 1.0),
    (
        "tensorrt-llm",
        "trtllm_gpu_memory_usage_bytes",
        Part::Used,
        1.0,
    ),
    ("sim", "reenact_sim_gpu_memory_used_bytes", Part::Used, 1.0),
    (
        "sim",
        "reenact_sim_gpu_memory_total_bytes",
        Part::Total,
        1.0,
    ),
];

const MIB: f64 = 1_048_576.0;
/// What labels of the GPU are called.
const UUID: [&str; 3] = ["UUID", "uuid", "gpu_uuid"];
/// AMD's `gpu_id` counts the GPUs of one machine: that of another may be the same.
const INDEX: [&str; 4] = ["gpu", "gpu_index", "index", "gpu_id"];
/// MIG instances of one GPU share its UUID, and have their own memory.
const INSTANCE: [&str; 1] = ["GPU_I_ID"];
const NAME: [&str; 4] = ["modelName", "name", "card_series", "card_model"];
/// DCGM's "no value" (`DCGM_INT64_BLANK` and its kin).
const BLANK: f64 = 9.0e18;

/// The GPUs of a page, in the page's order.
pub(super) fn read(page: &str) -> Vec<GpuReading> {
    let mut gpus: Vec<(Key, GpuReading)> = Vec::new();
    for line in lines(page) {
        let Some(&(source, _, part, factor)) =
            FIGURES.iter().find(|(_, name, ..)| *name == line.name)
        else {
            continue;
        };
        let key = Key {
            source,
            gpu: text(&line, &UUID).or_else(|| text(&line, &INDEX)),
            instance: text(&line, &INSTANCE),
        };
        let Some(bytes) = bytes(line.value, factor) else {
            continue;
        };
        let place = gpus.iter().position(|(known, _)| *known == key);
        let place = place.unwrap_or_else(|| {
            gpus.push((key, described(source, &line)));
            gpus.len() - 1
        });
        if let Some((_, gpu)) = gpus.get_mut(place) {
            match part {
                Part::Used => {
                    gpu.used_bytes = Some(bytes);
                    if source == "dcgm" {
                        gpu.total_bytes = gpu.total_bytes.saturating_add(bytes);
                    }
                }
                Part::Rest => gpu.total_bytes = gpu.total_bytes.saturating_add(bytes),
                Part::Total => gpu.total_bytes = bytes,
                Part::Xid => gpu.xid = Some(bytes),
            }
        }
    }
    gpus.into_iter()
        .map(|(_, gpu)| gpu)
        .filter(|gpu| gpu.used_bytes.is_some())
        .collect()
}

#[derive(PartialEq)]
struct Key {
    source: &'static str,
    gpu: Option<String>,
    instance: Option<String>,
}

fn described(source: &'static str, line: &Line<'_>) -> GpuReading {
    let number = |labels| text(line, labels).and_then(|number| number.parse().ok());
    GpuReading {
        source,
        index: number(&INDEX[..]),
        instance: number(&INSTANCE[..]),
        uuid: text(line, &UUID),
        name: text(line, &NAME),
        ..GpuReading::default()
    }
}

fn text(line: &Line<'_>, labels: &[&str]) -> Option<String> {
    let found = labels.iter().find_map(|label| line.label(label))?;
    (!found.is_empty()).then(|| found.to_owned())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to lie within the range"
)]
fn bytes(value: f64, factor: f64) -> Option<u64> {
    (value.is_finite() && (0.0..BLANK).contains(&value)).then(|| (value * factor).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dcgm_tells_in_mebibytes_and_the_parts_make_the_whole() {
        let page = "DCGM_FI_DEV_FB_FREE{gpu=\"0\",UUID=\"GPU-a\",modelName=\"H100\"} 1000\n\
                    DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-a\",modelName=\"H100\"} 80000\n\
                    DCGM_FI_DEV_FB_RESERVED{gpu=\"0\",UUID=\"GPU-a\",modelName=\"H100\"} 500\n\
                    DCGM_FI_DEV_FB_USED{gpu=\"1\",UUID=\"GPU-b\"} 9223372036854775794\n";
        let gpus = read(page);
        assert_eq!(gpus.len(), 1, "a blank is no figure: {gpus:?}");
        assert_eq!(gpus[0].used_bytes, Some(80_000 << 20));
        assert_eq!(gpus[0].total_bytes, 81_500 << 20);
        assert_eq!(
            (gpus[0].index, gpus[0].name.as_deref()),
            (Some(0), Some("H100"))
        );
    }

    #[test]
    fn instances_of_one_gpu_stand_apart() {
        let page = "DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-a\",GPU_I_ID=\"1\"} 10\n\
                    DCGM_FI_DEV_FB_USED{gpu=\"0\",UUID=\"GPU-a\",GPU_I_ID=\"2\"} 20\n";
        let used: Vec<_> = read(page).iter().map(|gpu| gpu.used_bytes).collect();
        assert_eq!(used, [Some(10 << 20), Some(20 << 20)]);
    }

    #[test]
    fn others_tell_in_their_own_units() {
        let page = "nvidia_smi_memory_used_bytes{uuid=\"u\"} 1024\nnvidia_smi_memory_total_bytes{uuid=\"u\"} 4096\n\
                    gpu_used_vram{gpu_id=\"0\",card_series=\"MI300X\"} 3\ngpu_total_vram{gpu_id=\"0\"} 9\n\
                    nv_gpu_memory_used_bytes{gpu_uuid=\"t\"} 7\n";
        let gpus = read(page);
        let figures: Vec<_> = gpus
            .iter()
            .map(|gpu| (gpu.source, gpu.used_bytes, gpu.total_bytes))
            .collect();
        assert_eq!(
            figures,
            [
                ("nvidia_gpu_exporter", Some(1024), 4096),
                ("amd", Some(3 << 20), 9 << 20),
                ("triton", Some(7), 0)
            ]
        );
    }
}
