use std::collections::BTreeSet;
use std::time::Instant;

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlErrorWithSource;
use nvml_wrapper::{EventSet, Nvml};

use super::nvml::told;
use super::series::GpuTimeline;

/// Asks the driver for the errors of GPUs (Xid) that it reports while this stands. A set of its own for each, since a GPU that refuses
/// takes its set along.
pub(super) struct XidWatch<'n> {
    sets: Vec<(u32, EventSet<'n>)>,
}

impl<'n> XidWatch<'n> {
    /// Begins. What a driver that is old, or lets nobody ask (a container, MIG), says to that is noted, and no more.
    pub(super) fn start(nvml: &'n Nvml, timeline: &mut GpuTimeline) -> Self {
        let indices: BTreeSet<u32> = timeline.gpus.iter().map(|gpu| gpu.index).collect();
        let mut sets = Vec::new();
        for index in indices {
            match register(nvml, index) {
                Ok(set) => sets.push((index, set)),
                Err(error) => {
                    if let Some(gpu) = timeline.gpu(index) {
                        gpu.xids_unwatched.get_or_insert(told(&error.error));
                    }
                }
            }
        }
        Self { sets }
    }

    /// Notes what came since the last time. Waits for nothing.
    pub(super) fn read(&self, began: Instant, timeline: &mut GpuTimeline) {
        let at_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        for (index, set) in &self.sets {
            for _ in 0..MOST_AT_ONCE {
                // Whatever else is wrong, the samples of memory tell.
                let Ok(event) = set.wait(0) else { break };
                let code = match event.event_data {
                    Some(XidError::Value(code)) => code,
                    Some(XidError::Unknown) | None => continue,
                };
                if let Some(gpu) = timeline.gpu(*index) {
                    gpu.note_xid(at_us, code);
                }
            }
        }
    }
}

fn register(nvml: &Nvml, index: u32) -> Result<EventSet<'_>, NvmlErrorWithSource> {
    let device = nvml.device_by_index(index)?;
    device.register_events(EventTypes::CRITICAL_XID_ERROR, nvml.create_event_set()?)
}

/// What an Xid stands for, in a few words (NVIDIA, "Xid Errors", GPU deployment and management documentation); `None` of those that say
/// little to who runs a server.
pub const fn xid_meaning(code: u64) -> Option<&'static str> {
    Some(match code {
        13 => "an exception in a kernel",
        31 => "a fault in a memory access",
        43 => "the process's work was stopped",
        45 => "the process was cleaned up after an earlier error",
        48 => "an uncorrectable memory error (double-bit ECC)",
        61 | 62 => "the GPU's microcontroller halted",
        63 | 64 => "memory rows were remapped, or could not be",
        74 => "an NVLink error",
        79 => "the GPU has fallen off the bus",
        92 => "many corrected memory errors",
        94 => "an uncorrectable memory error, contained to its process",
        95 => "an uncorrectable memory error, not contained",
        109 => "a context switch timed out",
        119 | 120 => "the GPU's system processor (GSP) failed",
        140 => "an unrecovered memory error (ECC)",
        154 => "the GPU must be reset or its node drained",
        _ => return None,
    })
}

/// A GPU that reports without end must not stop the samples.
const MOST_AT_ONCE: usize = 16;
