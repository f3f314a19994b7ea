//! What a core dump would hold: a process's whole memory, as the kernel shows it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;

/// What of its threads' stacks is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stacks {
    /// All.
    Whole,
    /// Not what lies below a stack's end: what functions left there that have returned.
    InUse,
}

/// Calls for every stretch of a process's memory that is there, with its line of `/proc/PID/maps`. Whether it may be looked at.
pub fn for_each_stretch(pid: u32, stacks: Stacks, mut look: impl FnMut(&str, &[u8])) -> bool {
    let open = |name| File::open(format!("/proc/{pid}/{name}"));
    let (Ok(memory), Ok(pages), Ok(maps)) = (open("mem"), open("pagemap"), open("maps")) else {
        return false;
    };
    let ends = match stacks {
        Stacks::Whole => Vec::new(),
        Stacks::InUse => stack_ends(pid),
    };
    let page = page_bytes();
    for line in BufReader::new(maps).lines() {
        let line = line.unwrap();
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with('r') {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = (address(start), address(end));
        let count = usize::try_from((end - start) / page).unwrap();
        let mut entries = vec![0; count * 8];
        // The kernel's own pages ([vsyscall]) have no entries.
        if pages.read_exact_at(&mut entries, start / page * 8).is_err() {
            continue;
        }
        let end = ends.iter().find(|stack| (start..end).contains(stack));
        let from = end.copied().unwrap_or(start);
        let mut at = start;
        let entries: Vec<_> = entries.chunks_exact(8).map(is_there).collect();
        for run in entries.chunk_by(|a, b| a == b) {
            let begin = at.max(from);
            at += run.len() as u64 * page;
            if run[0] && begin < at {
                let mut bytes = vec![0; usize::try_from(at - begin).unwrap()];
                // [vvar] does not read, and what was unmapped meanwhile does not either.
                if memory.read_exact_at(&mut bytes, begin).is_ok() {
                    look(&line, &bytes);
                }
            }
        }
    }
    true
}

/// Whether a page is in memory or swapped out, by its entry of `/proc/PID/pagemap`: what nobody has touched is neither.
fn is_there(entry: &[u8]) -> bool {
    entry[7] >> 6 != 0
}

fn page_bytes() -> u64 {
    const AT_PAGESZ: u64 = 6;
    let entries = std::fs::read("/proc/self/auxv").unwrap();
    let words: Vec<u64> = entries
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
        .collect();
    let entry = words.chunks(2).find(|entry| entry[0] == AT_PAGESZ);
    entry.unwrap()[1]
}

/// Where the stacks of a process's threads that wait end.
fn stack_ends(pid: u32) -> Vec<u64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let calls = threads.filter_map(|thread| {
        // The call's number and arguments, then the stack pointer and the program counter; or `running`.
        std::fs::read_to_string(thread.unwrap().path().join("syscall")).ok()
    });
    calls
        .filter_map(|call| {
            let pointer = call.split_whitespace().rev().nth(1)?;
            u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok()
        })
        .collect()
}
