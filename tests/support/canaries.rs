//! Random strings that stand where content does, and the search for them in what is left behind.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Hands out strings that occur nowhere by chance, and remembers where each stood.
pub struct Canaries {
    seed: u64,
    hatched: AtomicU32,
    /// What stood before each, so that a finding says where it leaked from.
    nests: Mutex<HashMap<u32, String>>,
}

impl Canaries {
    pub fn new() -> Self {
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let nanos = u64::try_from(clock.as_nanos() & u128::from(u64::MAX)).unwrap();
        Self {
            seed: nanos ^ u64::from(std::process::id()),
            hatched: AtomicU32::new(0),
            nests: Mutex::default(),
        }
    }

    /// 24 small letters: that half of them stand somewhere by chance is as good as excluded, however many there are.
    pub fn next(&self) -> String {
        self.string(self.hatched.fetch_add(1, Ordering::Relaxed))
    }

    /// Fills every `@` of a template.
    pub fn fill(&self, template: &str) -> String {
        let mut parts = template.split('@');
        let mut text = parts.next().unwrap().to_owned();
        let mut before = text.clone();
        for part in parts {
            let number = self.hatched.fetch_add(1, Ordering::Relaxed);
            let nest: String = before.chars().rev().take(40).collect();
            let nest = nest.chars().rev().collect();
            self.nests.lock().unwrap().insert(number, nest);
            text.push_str(&self.string(number));
            text.push_str(part);
            before.push('@');
            before.push_str(part);
        }
        text
    }

    /// A search for all that were handed out so far.
    pub fn search(&self) -> Search<'_> {
        let mut search = Search {
            canaries: self,
            needles: HashMap::new(),
            filter: vec![0; 1 << (FILTER_BITS - 6)],
        };
        for number in 0..self.hatched.load(Ordering::Relaxed) {
            for (disguise, needle) in disguises(&self.string(number)) {
                let start = u64::from_le_bytes(*needle.as_bytes().first_chunk().unwrap());
                let (word, bit) = place(start);
                search.filter[word] |= bit;
                let needles = search.needles.entry(start).or_default();
                needles.push((number, disguise, needle));
            }
        }
        search
    }

    fn string(&self, number: u32) -> String {
        // SplitMix64: 8 letters from each output.
        let mut state = self
            .seed
            .wrapping_add(u64::from(number).wrapping_mul(0x1234_5678_9abc_def1));
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        (0..3)
            .flat_map(|_| next().to_le_bytes())
            .map(|byte| char::from(b'a' + byte % 26))
            .collect()
    }
}

/// Many needles, looked for in one pass.
pub struct Search<'a> {
    canaries: &'a Canaries,
    /// By their first 8 bytes.
    needles: HashMap<u64, Vec<(u32, &'static str, String)>>,
    /// A bit for every hash of those: nearly all of a haystack is passed over by it.
    filter: Vec<u64>,
}

impl Search<'_> {
    /// Fails when any of them is in `haystack`, in any of the disguises.
    pub fn assert_absent(&self, haystack: &[u8], place: &str) {
        let found = self.find(haystack);
        assert!(found.is_empty(), "in {place}: {}", found.join("\n"));
    }

    /// The first that are there, and where.
    pub fn find(&self, haystack: &[u8]) -> Vec<String> {
        // Most of a process's memory has never been written.
        const ZEROS: [u8; 4096] = [0; 4096];
        let (mut found, mut at) = (Vec::new(), 0);
        while found.len() < MOST
            && let Some(start) = haystack.get(at..).and_then(<[u8]>::first_chunk::<8>)
        {
            if haystack[at..].starts_with(&ZEROS) {
                at += ZEROS.len() - 7;
                continue;
            }
            let stretch = haystack.len().min(at + ZEROS.len());
            let mut window = u64::from_le_bytes(*start);
            loop {
                let (word, bit) = place(window);
                if self.filter[word] & bit != 0
                    && let Some(name) = self.at(window, &haystack[at..])
                {
                    let around =
                        haystack[at.saturating_sub(24)..haystack.len().min(at + 24)].escape_ascii();
                    found.push(format!("{name} at byte {at:#x}: {around}"));
                }
                at += 1;
                if at + 8 > stretch {
                    break;
                }
                window = window >> 8 | u64::from(haystack[at + 7]) << 56;
            }
        }
        found
    }

    fn at(&self, window: u64, rest: &[u8]) -> Option<String> {
        let (number, disguise, _) = self
            .needles
            .get(&window)?
            .iter()
            .find(|(.., needle)| rest.starts_with(needle.as_bytes()))?;
        let nests = self.canaries.nests.lock().unwrap();
        let nest = nests.get(number).map_or("", String::as_str);
        Some(format!("canary {number} ({disguise}, after {nest:?})"))
    }
}

/// Findings that are told.
const MOST: usize = 8;
const FILTER_BITS: u32 = 23;

fn place(start: u64) -> (usize, u64) {
    let hash = start.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS);
    (usize::try_from(hash >> 6).unwrap(), 1 << (hash & 63))
}

fn disguises(canary: &str) -> Vec<(&'static str, String)> {
    let mut disguises = vec![
        ("first half", canary[..12].to_owned()),
        ("second half", canary[12..].to_owned()),
        ("upper case", canary.to_uppercase()),
        ("reversed", canary.chars().rev().collect()),
        (
            "hex",
            canary.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ),
    ];
    for shift in 0..3 {
        // Base64 depends on where in a triple the text starts; the parts that do not depend on its neighbours are these.
        let inner = base64(&canary.as_bytes()[shift..]);
        disguises.push(("base64", inner[..inner.len() - 4].to_owned()));
    }
    disguises
}

/// With padding's places filled by `A`.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for triple in bytes.chunks(3) {
        let word = triple
            .iter()
            .chain(&[0; 2])
            .take(3)
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        for place in (0..4).rev() {
            let digit = usize::try_from(word >> (6 * place) & 63).unwrap();
            text.push(char::from(DIGITS[digit]));
        }
    }
    text
}
