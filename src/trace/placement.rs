//! Where the files of a trace go: in time, and in the numbers of what they speak of.

use std::collections::HashMap;

use super::error::TraceError;
use super::file::TraceFile;
use super::frame::IdLimits;
use crate::anonymise::Keys;
use crate::shape::ModelId;

/// Where the next file goes.
#[derive(Default)]
pub(super) struct Placement {
    pub(super) shifts: HashMap<u64, u64>,
    /// Where the numbers of runs stand whose files share them.
    linked: HashMap<u64, IdLimits>,
    last_at_us: u64,
    next: IdLimits,
}

impl Placement {
    /// Where a file goes that shares an epoch with others of its run, and comes after those of other runs.
    pub(super) fn after_others(&mut self, file: &TraceFile) -> u64 {
        let run = self.shifts.entry(file.header.run);
        *run.or_insert(self.last_at_us)
    }

    /// What a file's ids are moved up by.
    pub(super) fn take(&mut self, file: &TraceFile, shift_us: u64) -> Result<IdLimits, TraceError> {
        if let Some((_, last)) = file.ends_us() {
            self.last_at_us = self.last_at_us.max(last.saturating_add(shift_us));
        }
        let is_linked = file
            .header
            .policy
            .as_ref()
            .is_some_and(|policy| policy.keys == Keys::Operator);
        let offsets = match is_linked {
            true => *self.linked.entry(file.header.run).or_insert(self.next),
            false => self.next,
        };
        let add = |offset: u32, ids: u32, what| {
            offset
                .checked_add(ids)
                .ok_or_else(|| TraceError::TooManyIds {
                    path: file.path.clone(),
                    what,
                })
        };
        self.next = self.next.max(IdLimits {
            blocks: add(offsets.blocks, file.ids.blocks, "prompt blocks")?,
            models: add(offsets.models, file.ids.models, "models")?,
            sessions: add(offsets.sessions, file.ids.sessions, "sessions")?,
            clients: add(offsets.clients, file.ids.clients, "clients")?,
        });
        Ok(offsets)
    }
}

/// Names that were kept, and which models of different files are the same.
#[derive(Default)]
pub(super) struct ModelNames {
    pub(super) by_id: HashMap<ModelId, String>,
    by_name: HashMap<String, ModelId>,
    /// Models of later files that an earlier file has under another number.
    pub(super) same: HashMap<ModelId, ModelId>,
}

impl ModelNames {
    pub(super) fn learn(&mut self, model: ModelId, name: String) {
        let first = *self.by_name.entry(name.clone()).or_insert(model);
        if first != model {
            self.same.insert(model, first);
        }
        self.by_id.insert(model, name);
    }

    pub(super) fn unified(&self, model: ModelId) -> ModelId {
        self.same.get(&model).copied().unwrap_or(model)
    }
}
