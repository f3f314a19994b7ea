use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use super::series::{GpuSample, GpuSeries, GpuTimeline};

/// Samples the memory of every NVIDIA GPU of this machine through NVML, which the driver brings.
#[derive(Debug)]
pub struct GpuSampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<GpuTimeline>,
}

/// Why there is nothing to sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GpuAbsent {
    /// No NVIDIA driver, or one that cannot be used.
    #[error("no NVIDIA driver: {0}")]
    NoDriver(String),
    /// A driver without a GPU.
    #[error("the NVIDIA driver shows no GPU")]
    NoGpu,
}

impl GpuSampler {
    /// Starts sampling every `period`; moments count from `began`. `library` is where `libnvidia-ml.so.1` lies, where it is
    /// not on the system's path.
    ///
    /// # Errors
    /// When there is nothing to sample: no driver, or no GPU.
    pub fn start(
        library: Option<PathBuf>,
        began: Instant,
        period: Duration,
    ) -> Result<Self, GpuAbsent> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, first) = channel();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("gpu".to_owned())
            .spawn(move || {
                sample(
                    library.as_deref().map(std::path::Path::as_os_str),
                    began,
                    period,
                    &stopped,
                    &ready,
                )
            })
            .map_err(|error| GpuAbsent::NoDriver(error.to_string()))?;
        match first.recv() {
            Ok(Ok(())) => Ok(Self { stop, thread }),
            Ok(Err(absent)) => Err(absent),
            Err(_) => Err(GpuAbsent::NoDriver("the sampling thread ended".to_owned())),
        }
    }

    /// Ends sampling and gives what was seen.
    pub fn stop(self) -> GpuTimeline {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // A panic in the driver's library must not cost the replay its other figures.
        self.thread.join().unwrap_or_default()
    }
}

fn sample(
    library: Option<&std::ffi::OsStr>,
    began: Instant,
    period: Duration,
    stop: &AtomicBool,
    ready: &Sender<Result<(), GpuAbsent>>,
) -> GpuTimeline {
    let mut nvml = match open(library) {
        Ok(nvml) => Some(nvml),
        Err(error) => {
            let _ = ready.send(Err(GpuAbsent::NoDriver(told(&error))));
            return GpuTimeline::default();
        }
    };
    let mut timeline = nvml.as_ref().map(inventory).unwrap_or_default();
    if timeline.gpus.is_empty() {
        let _ = ready.send(Err(GpuAbsent::NoGpu));
        return timeline;
    }
    let _ = ready.send(Ok(()));
    let mut next = Instant::now();
    let mut reopen_at = next;
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        match &nvml {
            // The driver was reloaded, or took the device away from this container: start anew in a while.
            Some(handle) if read(handle, began, &mut timeline) => {
                nvml = None;
                reopen_at = now + REOPEN_AFTER;
            }
            Some(_) => {}
            None if now >= reopen_at => {
                nvml = open(library).ok();
                reopen_at = now + REOPEN_AFTER;
            }
            None => {}
        }
        next += period;
        let now = Instant::now();
        if next <= now {
            next = now + period;
        }
        // A spurious wake-up costs one early sample.
        std::thread::park_timeout(next.saturating_duration_since(now));
    }
    if let Some(handle) = &nvml {
        read(handle, began, &mut timeline);
    }
    timeline
}

fn open(library: Option<&std::ffi::OsStr>) -> Result<Nvml, NvmlError> {
    match library {
        Some(path) => Nvml::builder().lib_path(path).init(),
        None => Nvml::init(),
    }
}

fn inventory(nvml: &Nvml) -> GpuTimeline {
    let count = nvml.device_count().unwrap_or(0);
    let gpus = (0..count).filter_map(|index| {
        let device = nvml.device_by_index(index).ok()?;
        Some(GpuSeries {
            source: "nvml",
            index,
            uuid: device.uuid().ok(),
            name: device.name().ok(),
            total_bytes: device.memory_info().ok()?.total,
            ..GpuSeries::default()
        })
    });
    GpuTimeline {
        gpus: gpus.collect(),
    }
}

/// One sample of each GPU; whether NVML must be opened anew.
fn read(nvml: &Nvml, began: Instant, timeline: &mut GpuTimeline) -> bool {
    let mut broken = false;
    for gpu in &mut timeline.gpus {
        let at_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match nvml
            .device_by_index(gpu.index)
            .and_then(|device| device.memory_info())
        {
            Ok(memory) => gpu.push(GpuSample {
                at_us,
                used_bytes: memory.used,
            }),
            Err(error) => {
                broken |= matches!(
                    error,
                    NvmlError::Unknown | NvmlError::Uninitialized | NvmlError::DriverNotLoaded
                );
                if gpu.state.is_none() {
                    gpu.state = Some(format!(
                        "no sample at {:.1} s: {}",
                        seconds(at_us),
                        told(&error)
                    ));
                }
            }
        }
    }
    broken
}

fn told(error: &NvmlError) -> String {
    match error {
        NvmlError::GpuLost => "the GPU was lost".to_owned(),
        NvmlError::LibloadingError(_) => "libnvidia-ml.so.1 cannot be loaded".to_owned(),
        NvmlError::FailedToLoadSymbol(_) => "the library is not NVML, or too old".to_owned(),
        other => other.to_string(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 us")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

const REOPEN_AFTER: Duration = Duration::from_secs(1);
