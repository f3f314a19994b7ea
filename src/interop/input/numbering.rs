use std::collections::HashMap;
use std::hash::Hash;

/// Names to numbers, in order of first appearance. The table of them is what grows with a file.
pub(in crate::interop) struct Numbering<K> {
    numbers: HashMap<K, u32>,
    next: u32,
}

impl<K> Default for Numbering<K> {
    fn default() -> Self {
        Self {
            numbers: HashMap::new(),
            next: 0,
        }
    }
}

impl<K: Hash + Eq> Numbering<K> {
    /// The number of `key`.
    ///
    /// # Errors
    /// When there are more than numbers.
    pub(in crate::interop) fn number(&mut self, key: K) -> Result<u32, String> {
        if let Some(&number) = self.numbers.get(&key) {
            return Ok(number);
        }
        let number = self.fresh()?;
        self.numbers.insert(key, number);
        Ok(number)
    }

    /// A number that no name has.
    ///
    /// # Errors
    /// When none is left.
    pub(in crate::interop) fn fresh(&mut self) -> Result<u32, String> {
        let number = self.next;
        self.next = number
            .checked_add(1)
            .ok_or_else(|| "more than 2^32 different ids".to_owned())?;
        Ok(number)
    }

    /// The number of `key`, if it has one.
    pub(in crate::interop) fn get(&self, key: &K) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    /// Gives `key` a number that another has.
    pub(in crate::interop) fn alias(&mut self, key: K, number: u32) {
        self.numbers.insert(key, number);
    }

    /// Forgets all names, so that the same ones mean something else from here on.
    pub(in crate::interop) fn forget(&mut self) {
        self.numbers.clear();
    }
}
