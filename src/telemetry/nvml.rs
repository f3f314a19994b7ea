use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use super::fault::Fault;
use super::pace::{Clock as _, Parked, rounds};
use super::series::{GpuSample, GpuSeries, GpuTimeline};
use super::xid::XidWatch;

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
    /// A GPU that was chosen is not there.
    #[error("there is no GPU `{wanted}`; there are {known}")]
    NotThere {
        /// What was asked for.
        wanted: String,
        /// What there is: indices and UUIDs.
        known: String,
    },
}

impl GpuSampler {
    /// How often a GPU of this machine is sampled in a replay.
    pub const PERIOD: Duration = Duration::from_millis(100);

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
        Self::start_chosen(library, Vec::new(), began, period)
    }

    /// The same of those GPUs alone that are named, by index or UUID (of the GPU or of a MIG instance); of all where none is.
    ///
    /// # Errors
    /// When there is nothing to sample, or one that is named is not there.
    pub fn start_chosen(
        library: Option<PathBuf>,
        chosen: Vec<String>,
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
                    &chosen,
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
    chosen: &[String],
    began: Instant,
    period: Duration,
    stop: &AtomicBool,
    ready: &Sender<Result<(), GpuAbsent>>,
) -> GpuTimeline {
    let nvml = match open(library) {
        Ok(nvml) => nvml,
        Err(error) => {
            let _ = ready.send(Err(GpuAbsent::NoDriver(told(&error))));
            return GpuTimeline::default();
        }
    };
    let mut timeline = inventory(&nvml);
    if timeline.gpus.is_empty() {
        let _ = ready.send(Err(GpuAbsent::NoGpu));
        return timeline;
    }
    if let Err(absent) = choose(&mut timeline, chosen) {
        let _ = ready.send(Err(absent));
        return GpuTimeline::default();
    }
    let mut handle = Some(nvml);
    loop {
        if let Some(nvml) = handle.take() {
            let xids = XidWatch::start(&nvml, &mut timeline);
            // Nobody listens the second time.
            let _ = ready.send(Ok(()));
            watch(&nvml, &xids, began, period, stop, &mut timeline);
        }
        let clock = Parked { stop };
        if !clock.wait(clock.now() + REOPEN_AFTER) {
            return timeline;
        }
        handle = open(library).ok();
    }
}

/// Samples until it is to stop, or NVML must be opened anew: the driver was reloaded, or took the device away from this container.
fn watch(
    nvml: &Nvml,
    xids: &XidWatch<'_>,
    began: Instant,
    period: Duration,
    stop: &AtomicBool,
    timeline: &mut GpuTimeline,
) {
    let clock = Parked { stop };
    let mut list_at = clock.now();
    rounds(&clock, list_at, |last| {
        // What stands in the GPU's memory when it is to stop is the last sample.
        let broken = read(nvml, began, timeline);
        xids.read(began, timeline);
        // The list costs the driver's lock a hundred times what memory does.
        if last || clock.now() >= list_at {
            processes(nvml, timeline);
            list_at = clock.now() + LIST_EVERY;
        }
        (!broken).then_some(period)
    });
}

fn open(library: Option<&std::ffi::OsStr>) -> Result<Nvml, NvmlError> {
    match library {
        Some(path) => Nvml::builder().lib_path(path).init(),
        None => Nvml::init(),
    }
}

/// Every GPU, or the MIG instances of one that is parted into some: their memory is what an engine gets.
fn inventory(nvml: &Nvml) -> GpuTimeline {
    let count = nvml.device_count().unwrap_or(0);
    let mut gpus = Vec::new();
    for index in 0..count {
        let Ok(device) = nvml.device_by_index(index) else {
            continue;
        };
        // What cannot be parted says that it does not know of instances.
        let most = device.mig_device_count().unwrap_or(0);
        let before = gpus.len();
        gpus.extend((0..most).filter_map(|instance| {
            let part = device.mig_device_by_index(instance).ok()?;
            series(&part, index, Some(instance))
        }));
        if gpus.len() == before {
            gpus.extend(series(&device, index, None));
        }
    }
    GpuTimeline { gpus }
}

fn series(device: &Device<'_>, index: u32, instance: Option<u32>) -> Option<GpuSeries> {
    Some(GpuSeries {
        source: "nvml".into(),
        index,
        instance,
        uuid: device.uuid().ok(),
        name: device.name().ok(),
        total_bytes: device.memory_info().ok()?.total,
        ..GpuSeries::default()
    })
}

/// Leaves those that are named.
fn choose(timeline: &mut GpuTimeline, chosen: &[String]) -> Result<(), GpuAbsent> {
    let is = |gpu: &GpuSeries, name: &str| {
        gpu.uuid.as_deref() == Some(name) || name.parse() == Ok(gpu.index)
    };
    for wanted in chosen {
        if !timeline.gpus.iter().any(|gpu| is(gpu, wanted)) {
            let known = timeline.gpus.iter().map(|gpu| match &gpu.uuid {
                Some(uuid) => format!("{} ({uuid})", gpu.index),
                None => gpu.index.to_string(),
            });
            return Err(GpuAbsent::NotThere {
                wanted: wanted.clone(),
                known: known.collect::<Vec<_>>().join(", "),
            });
        }
    }
    if !chosen.is_empty() {
        timeline
            .gpus
            .retain(|gpu| chosen.iter().any(|name| is(gpu, name)));
    }
    Ok(())
}

fn device<'n>(nvml: &'n Nvml, gpu: &GpuSeries) -> Result<Device<'n>, NvmlError> {
    let device = nvml.device_by_index(gpu.index)?;
    match gpu.instance {
        Some(instance) => device.mig_device_by_index(instance),
        None => Ok(device),
    }
}

/// Notes what each process has, where the driver tells.
fn processes(nvml: &Nvml, timeline: &mut GpuTimeline) {
    for gpu in &mut timeline.gpus {
        let listed = device(nvml, gpu).and_then(|device| device.running_compute_processes());
        for process in listed.unwrap_or_default() {
            if let UsedGpuMemory::Used(bytes) = process.used_gpu_memory {
                let known = gpu.processes.entry(process.pid).or_default();
                known.most_bytes = bytes.max(known.most_bytes);
            }
        }
    }
}

/// One sample of each GPU; whether NVML must be opened anew.
fn read(nvml: &Nvml, began: Instant, timeline: &mut GpuTimeline) -> bool {
    let mut broken = false;
    for gpu in &mut timeline.gpus {
        let at_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match device(nvml, gpu).and_then(|device| device.memory_info()) {
            Ok(memory) => gpu.push(GpuSample {
                at_us,
                used_bytes: memory.used,
            }),
            Err(error) => {
                broken |= matches!(
                    error,
                    NvmlError::Unknown | NvmlError::Uninitialized | NvmlError::DriverNotLoaded
                );
                gpu.complain(Fault::new(at_us, "no sample", told(&error)));
            }
        }
    }
    broken
}

pub(super) fn told(error: &NvmlError) -> String {
    match error {
        NvmlError::GpuLost => "the GPU was lost".to_owned(),
        NvmlError::LibloadingError(_) => "libnvidia-ml.so.1 cannot be loaded".to_owned(),
        NvmlError::FailedToLoadSymbol(_) => "the library is not NVML, or too old".to_owned(),
        other => other.to_string(),
    }
}

/// Longer than most processes of an engine take to come and go.
const LIST_EVERY: Duration = Duration::from_secs(10);
const REOPEN_AFTER: Duration = Duration::from_secs(1);
