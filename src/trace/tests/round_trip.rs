use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::{blocks_of, chat, header, read, write};
use crate::anonymise::{Anonymiser, ChainKey, Policy, Private, Recordable, Sighting};
use crate::shape::{BlockSpec, ModelId};
use crate::trace::{Totals, Trace, TraceError, TraceWriter, WriterOptions};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_reads_back_sorted_by_arrival(
        exchanges in prop::collection::vec(super::any::exchange(), 0..40),
        block_exchanges in 1..20_u32,
        spec in prop_oneof![Just(None), Just(Some(BlockSpec::LIVE)), Just(Some(BlockSpec::MOONCAKE))],
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.rt");
        let mut header = header(1);
        header.block = spec;
        write(&path, &header, blocks_of(block_exchanges), &exchanges);
        let mut sorted = exchanges;
        sorted.sort_by_key(|exchange| exchange.at);
        let trace = Trace::open(std::slice::from_ref(&path)).unwrap();
        prop_assert_eq!(trace.header(), &header);
        prop_assert_eq!(trace.exchange_count(), sorted.len() as u64);
        let ends = sorted.first().zip(sorted.last());
        prop_assert_eq!(trace.ends(), ends.map(|(first, last)| (first.at, last.at)));
        prop_assert_eq!(trace.damage(), crate::trace::Damage::default());
        prop_assert_eq!(read(&path), sorted);
    }
}

#[test]
fn a_trace_is_its_owners_alone_and_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    write(&path, &header(1), WriterOptions::default(), &[]);
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = TraceWriter::create(&path, &header(1), WriterOptions::default());
    assert!(matches!(again, Err(TraceError::Exists { .. })));
    assert_eq!(read(&path), []);
}

#[test]
fn a_whole_file_has_no_name_until_it_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let partial = directory.path().join("a.rt.partial");
    let create = || TraceWriter::create_whole(&path, &header(1), WriterOptions::default());
    let writer = create().unwrap();
    assert!(partial.exists() && !path.exists());
    assert!(matches!(create(), Err(TraceError::Exists { .. })));
    drop(writer);
    assert!(!partial.exists() && !path.exists());
    create().unwrap().finish().unwrap();
    assert!(!partial.exists() && path.exists());
    assert!(matches!(create(), Err(TraceError::Exists { .. })));
}

#[test]
fn equal_arrivals_keep_their_order_over_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let exchanges: Vec<_> = (0..30).map(|i| chat(u64::from(i / 10), 5, [i])).collect();
    write(&path, &header(1), blocks_of(7), &exchanges);
    assert_eq!(read(&path), exchanges);
}

#[test]
fn accounts_are_kept_in_blocks_and_footer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let totals = |seen| Totals {
        seen,
        recorded: 1,
        dropped: [("probe".to_owned(), 3)].into(),
        ..Totals::default()
    };
    let mut writer = TraceWriter::create(&path, &header(1), WriterOptions::default()).unwrap();
    writer.account(&totals(4));
    writer
        .push(Recordable::content_free(chat(0, 1, [])))
        .unwrap();
    writer.flush().unwrap();
    let open = || Trace::open(std::slice::from_ref(&path)).unwrap();
    assert_eq!(open().totals(), totals(4));
    assert_eq!(open().damage().unfinished_files, 1);
    assert_eq!(open().exchange_count(), 1);
    writer.account(&totals(9));
    writer.finish().unwrap();
    assert_eq!(open().totals(), totals(9));
    assert_eq!(open().damage().unfinished_files, 0);
}

#[test]
fn kept_model_names_come_with_the_exchanges() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt");
    let policy = Policy {
        keep_models: ["llama".into()].into(),
        ..Policy::default()
    };
    let mut gate = Anonymiser::with_key(policy, ChainKey::from_bytes([1; 16]));
    let mut writer = TraceWriter::create(&path, &header(1), blocks_of(1)).unwrap();
    for name in ["secret", "llama", "secret"] {
        let recordable = gate.admit(Sighting {
            model: Some(Private::new(name)),
            ..Sighting::of(chat(0, 1, []))
        });
        writer.push(recordable).unwrap();
    }
    writer.finish().unwrap();
    let mut trace = Trace::open(&[path]).unwrap();
    let models: Vec<_> = trace.exchanges().map(|e| e.unwrap().model).collect();
    assert_eq!(models, [0, 1, 0].map(|id| Some(ModelId(id))));
    assert_eq!(trace.model_name(ModelId(0)), None);
    assert_eq!(trace.model_name(ModelId(1)), Some("llama"));
}
