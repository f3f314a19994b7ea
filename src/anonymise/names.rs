use std::collections::{BTreeSet, HashMap};

use crate::shape::ModelId;

/// Text that was seen and must not be shown: it has no `Display`, and its `Debug` says only that something is there.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Private(String);

impl Private {
    /// Bytes by which texts are told apart; the rest of a longer one is let go.
    const MAX_BYTES: usize = 512;

    /// Wraps text that a client or server sent.
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.len() > Self::MAX_BYTES {
            let end = (0..=Self::MAX_BYTES)
                .rev()
                .find(|&at| text.is_char_boundary(at));
            text.truncate(end.unwrap_or(0));
            text.shrink_to_fit();
        }
        Self(text)
    }

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        self.0.capacity()
    }
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Private(…)")
    }
}

/// What the operator allows to be kept in clear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Model names that may stand in traces and metrics as they are. All others become pseudonyms.
    pub keep_models: BTreeSet<String>,
}

/// A name that the policy allows in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptName(String);

impl KeptName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Model names to pseudonyms, in order of first appearance; bounded at about 600 KiB, since names come from clients.
pub(super) struct ModelTable {
    policy: Policy,
    ids: HashMap<Private, ModelId>,
}

impl ModelTable {
    /// Names beyond this many share one pseudonym, the last.
    const CAPACITY: u32 = 1000;

    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            ids: HashMap::new(),
        }
    }

    /// The pseudonym of `name`, and the name itself when it is new here and the policy allows it.
    pub(super) fn pseudonym(&mut self, name: Private) -> (ModelId, Option<KeptName>) {
        if let Some(&id) = self.ids.get(&name) {
            return (id, None);
        }
        let id = ModelId(
            u32::try_from(self.ids.len())
                .unwrap_or(u32::MAX)
                .min(Self::CAPACITY),
        );
        if id.0 == Self::CAPACITY {
            return (id, None);
        }
        let kept = self
            .policy
            .keep_models
            .contains(&name.0)
            .then(|| KeptName(name.0.clone()));
        self.ids.insert(name, id);
        (id, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allow_listed_names_come_out() {
        let mut table = ModelTable::new(Policy {
            keep_models: ["llama".into()].into(),
        });
        assert_eq!(table.pseudonym(Private::new("secret")), (ModelId(0), None));
        let (id, kept) = table.pseudonym(Private::new("llama"));
        assert_eq!((id, kept.unwrap().as_str()), (ModelId(1), "llama"));
        assert_eq!(table.pseudonym(Private::new("secret")), (ModelId(0), None));
        assert_eq!(format!("{:?}", Private::new("secret")), "Private(…)");
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let mut table = ModelTable::new(Policy::default());
        for i in 0..5000 {
            table.pseudonym(Private::new(i.to_string()));
        }
        assert_eq!(table.ids.len(), 1000);
        assert_eq!(Private::new("é".repeat(1 << 20)).held_bytes(), 512);
        assert_eq!(table.pseudonym(Private::new("one more")).0, ModelId(1000));
    }
}
