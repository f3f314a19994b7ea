use std::collections::HashMap;
use std::collections::hash_map::Entry;

use siphasher::sip::SipHasher13;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::chain::ChainKey;
use super::policy::Policy;
use crate::shape::ModelId;

/// Text that was seen and must not be shown: it has no `Display`, and its `Debug` says only that something is there.
/// Wiped when dropped.
#[derive(Clone, PartialEq, Eq, Hash, Zeroize, ZeroizeOnDrop)]
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

    /// A keyed digest, as prompts that refer to it have it.
    pub(super) fn digest(&self, key: &ChainKey) -> u64 {
        key.digest(self.0.as_bytes())
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

/// A name that the policy allows in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptName(String);

impl KeptName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Model names to pseudonyms, in order of first appearance; bounded at about 50 KiB, since names come from clients, and those that
/// are allow-listed, which always have a place. Holds keyed hashes of the names, not the names.
pub(super) struct ModelTable {
    policy: Policy,
    key: Zeroizing<[u8; 16]>,
    seen: HashMap<u64, Seen>,
    /// Those of `seen` that are not allow-listed.
    unlisted: u32,
    /// What the names share for which there is no place.
    others: Option<ModelId>,
}

/// A name that was seen: its pseudonym, and how often.
struct Seen {
    id: ModelId,
    times: u32,
}

impl ModelTable {
    /// Names beyond this many that are not allow-listed share one pseudonym.
    const CAPACITY: u32 = 1000;

    pub(super) fn new(policy: Policy, key: &ChainKey) -> Self {
        Self {
            policy,
            key: Zeroizing::new(key.derive(b"model names")),
            seen: HashMap::new(),
            unlisted: 0,
            others: None,
        }
    }

    /// Another file begins, which tells the names it keeps anew.
    pub(super) fn begin_file(&mut self) {
        self.seen.values_mut().for_each(|seen| seen.times = 0);
    }

    /// The pseudonym of `name`, and the name itself when the policy allows it from now on. An exchange counts once it has ended.
    pub(super) fn pseudonym(
        &mut self,
        name: &Private,
        has_ended: bool,
    ) -> (ModelId, Option<KeptName>) {
        let hash = SipHasher13::new_with_key(&self.key).hash(name.0.as_bytes());
        let listed = self.policy.keep_models.contains(&name.0);
        let given = self.seen.len() + usize::from(self.others.is_some());
        let next = ModelId(u32::try_from(given).unwrap_or(u32::MAX));
        let seen = match self.seen.entry(hash) {
            Entry::Occupied(seen) => seen.into_mut(),
            Entry::Vacant(_) if !listed && self.unlisted >= Self::CAPACITY => {
                return (*self.others.get_or_insert(next), None);
            }
            Entry::Vacant(new) => {
                self.unlisted += u32::from(!listed);
                new.insert(Seen { id: next, times: 0 })
            }
        };
        seen.times = seen.times.saturating_add(has_ended.into());
        let first = listed && seen.times <= 1;
        let often = has_ended && seen.times == self.policy.name_threshold;
        let kept = (first || often).then(|| KeptName(name.0.clone()));
        (seen.id, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(policy: Policy) -> ModelTable {
        ModelTable::new(policy, &ChainKey::from_bytes([1; 16]))
    }

    fn told(table: &mut ModelTable, name: &str) -> (u32, Option<String>) {
        let (id, kept) = table.pseudonym(&Private::new(name), true);
        (id.0, kept.map(|kept| kept.0))
    }

    #[test]
    fn only_allow_listed_names_come_out() {
        let mut table = table(Policy {
            keep_models: ["llama".into()].into(),
            ..Policy::default()
        });
        assert_eq!(told(&mut table, "secret"), (0, None));
        assert_eq!(told(&mut table, "llama"), (1, Some("llama".to_owned())));
        assert_eq!(told(&mut table, "secret"), (0, None));
        assert_eq!(told(&mut table, "llama"), (1, None), "told already");
        assert_eq!(format!("{:?}", Private::new("secret")), "Private(…)");
    }

    #[test]
    fn a_name_comes_out_once_it_is_no_longer_rare() {
        let mut table = table(Policy {
            name_threshold: 3,
            ..Policy::default()
        });
        let names: Vec<_> = (0..5).map(|_| told(&mut table, "usual").1).collect();
        let usual = Some("usual".to_owned());
        assert_eq!(names, [None, None, usual, None, None]);
        assert_eq!(told(&mut table, "rare"), (1, None));
        assert_eq!(told(&mut table, "rare"), (1, None));
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let mut table = table(Policy::default());
        for i in 0..5000 {
            table.pseudonym(&Private::new(i.to_string()), true);
        }
        assert_eq!(table.seen.len(), 1000);
        assert_eq!(Private::new("é".repeat(1 << 20)).held_bytes(), 512);
        assert_eq!(told(&mut table, "one more"), (1000, None));
    }

    #[test]
    fn a_flood_of_names_does_not_take_an_allow_listed_ones_place() {
        let mut table = table(Policy {
            keep_models: ["llama".into(), "qwen".into()].into(),
            ..Policy::default()
        });
        for i in 0..1000 {
            assert_eq!(told(&mut table, &i.to_string()), (i, None));
        }
        assert_eq!(told(&mut table, "llama"), (1000, Some("llama".to_owned())));
        assert_eq!(told(&mut table, "one more"), (1001, None));
        assert_eq!(told(&mut table, "qwen"), (1002, Some("qwen".to_owned())));
        assert_eq!(told(&mut table, "yet another"), (1001, None));
        assert_eq!(told(&mut table, "llama"), (1000, None), "told already");
        assert_eq!(told(&mut table, "7"), (7, None));
    }
}
