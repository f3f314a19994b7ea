//! A foreign trace is imported or refused, whatever it is; what was imported reads back, row by row.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use reenact::interop::{ImportFormat, ImportOptions, import};
use reenact::trace::Trace;

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((&choice, file)) = input.split_first() else {
        return Corpus::Reject;
    };
    let formats = ImportFormat::all();
    let format = formats[usize::from(choice >> 1) % formats.len()];
    let options = ImportOptions {
        skip_bad: choice & 1 == 0,
        ..ImportOptions::default()
    };
    // Finished traces are put on the disk for good, which takes its time anywhere but in memory.
    let directory = tempfile::tempdir_in("/dev/shm").expect("room in memory");
    let (from, to) = (
        directory.path().join("from"),
        directory.path().join("to.rt"),
    );
    std::fs::write(&from, file).expect("it is written");
    match import(format, &from, &to, &options) {
        Ok(imported) => {
            let mut trace = Trace::open(&[to]).expect("what was imported opens");
            assert_eq!(trace.exchange_count(), imported.rows);
            assert_eq!(trace.totals().recorded, imported.rows);
            assert_eq!(
                trace.exchanges().filter(Result::is_ok).count() as u64,
                imported.rows
            );
            assert!(!trace.damage().is_loss() && trace.damage().unfinished_files == 0);
            assert!(options.skip_bad || imported.skipped == 0);
        }
        Err(error) => {
            assert!(!to.exists(), "half an import is left: {error}");
        }
    }
    Corpus::Keep
});
