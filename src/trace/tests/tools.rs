use std::fs;
use std::path::{Path, PathBuf};

use super::{blocks_of, chat, header, read, write};
use crate::anonymise::{Policy, Recordable};
use crate::shape::{
    BlockId, BlockSpec, Endpoint, Exchange, ModelId, Outcome, SessionId, TokenCount, TokenSource,
    TraceTime,
};
use crate::trace::{
    Filter, Header, Range, Totals, Trace, TraceError, TraceWriter, filter, head, merge, repair,
    slice, verify,
};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of chats at these times, two to a block.
    fn of(&self, name: &str, header: &Header, at: impl IntoIterator<Item = u64>) -> PathBuf {
        let exchanges: Vec<_> = at.into_iter().map(|at| chat(at, 1, [0, 1])).collect();
        write(&self.path(name), header, blocks_of(2), &exchanges);
        self.path(name)
    }
}

fn open(paths: &[&Path]) -> Trace {
    let paths: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
    Trace::open(&paths).unwrap()
}

fn clocked(run: u64, epoch_unix_us: u64) -> Header {
    Header {
        epoch_unix_us: Some(epoch_unix_us),
        ..header(run)
    }
}

fn times(exchanges: &[Exchange]) -> Vec<u64> {
    exchanges.iter().map(|exchange| exchange.at.us()).collect()
}

#[test]
fn recorders_merge_by_their_wall_clocks_and_skews() {
    let files = Files::new();
    let one = files.of("one.rt", &clocked(1, 5_000_000), [0, 10, 20, 30]);
    let two = files.of("two.rt", &clocked(2, 5_000_105), [0, 10]);
    let three = files.of("three.rt", &clocked(3, 5_000_007), [0, 20]);
    let paths = [(one, 0), (two, -100), (three, 0)];
    let mut trace = Trace::open_by_clock(&paths).unwrap();
    let shifts: Vec<_> = trace.shifts_us().map(|(_, us)| us).collect();
    assert_eq!(shifts, [0, 5, 7]);
    let output = files.path("all.rt");
    let copied = merge(&mut trace, &output).unwrap();
    assert_eq!(copied.exchanges, 8);
    let merged = read(&output);
    assert_eq!(times(&merged), [0, 5, 7, 10, 15, 20, 27, 30]);
    let mut ids: Vec<_> = merged.iter().map(|e| e.request.blocks.clone()).collect();
    ids.sort();
    ids.dedup();
    let chains = [[0, 1], [2, 3], [4, 5]].map(|ids| ids.map(BlockId).to_vec());
    assert_eq!(ids, chains, "numbers of files never meet");
    let merged = open(&[&output]);
    assert_eq!(merged.header().epoch_unix_us, Some(5_000_000));
    assert!(![1, 2, 3].contains(&merged.header().run));
    // A skew below zero may move the earliest of all.
    let earlier = Trace::open_by_clock(&[(paths[0].0.clone(), 0), (paths[1].0.clone(), -205)]);
    let shifts: Vec<_> = earlier.unwrap().shifts_us().map(|(_, us)| us).collect();
    assert_eq!(shifts, [100, 0]);
}

#[test]
fn recorders_without_a_wall_clock_are_not_put_side_by_side() {
    let files = Files::new();
    let one = files.of("one.rt", &clocked(1, 5), [0]);
    let two = files.of("two.rt", &header(2), [0]);
    let error = Trace::open_by_clock(&[(one, 0), (two.clone(), 0)])
        .err()
        .unwrap();
    assert!(matches!(&error, TraceError::NoClock { path } if *path == two));
    assert!(error.hint().unwrap().contains("--keep-wall-clock"));
}

#[test]
fn files_of_one_run_merge_on_their_own_clock_and_stay_of_that_run() {
    let files = Files::new();
    let one = files.of("a-1.rt", &header(7), [0, 10, 30]);
    let two = files.of("a-2.rt", &header(7), [20, 40]);
    let output = files.path("all.rt");
    merge(&mut open(&[&one, &two]), &output).unwrap();
    assert_eq!(times(&read(&output)), [0, 10, 20, 30, 40]);
    assert_eq!(open(&[&output]).run(), Some(7));
}

#[test]
fn what_one_header_cannot_say_is_not_merged() {
    let files = Files::new();
    let one = files.of("one.rt", &header(1), [0]);
    let other = |name: &str, header: Header| {
        let two = files.of(name, &header, [0]);
        let output = files.path("out.rt");
        let error = merge(&mut open(&[&one, &two]), &output).unwrap_err();
        assert!(matches!(&error, TraceError::Unlike { path, .. } if *path == two));
        assert!(!output.exists() && !files.path("out.rt.partial").exists());
        error.to_string()
    };
    let sampled = Header {
        sample_ppm: 5,
        ..header(1)
    };
    assert!(other("sampled.rt", sampled).contains("another share"));
    let cut = Header {
        block: Some(BlockSpec::MOONCAKE),
        ..header(1)
    };
    assert!(other("cut.rt", cut).contains("other blocks"));
}

#[test]
fn small_blocks_become_full_ones() {
    let files = Files::new();
    let exchanges: Vec<_> = (0..3000).map(|at| chat(at * 1000, 7, [0, 1])).collect();
    let small = files.path("small.rt");
    write(&small, &header(1), blocks_of(1), &exchanges);
    let output = files.path("compact.rt");
    merge(&mut open(&[&small]), &output).unwrap();
    assert_eq!(read(&output), exchanges);
    let len = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(len(&output) * 20 < len(&small), "{} bytes", len(&output));
    assert_eq!(open(&[&output]).files[0].file.blocks.len(), 3);
}

/// Blocks that all overlap, as a writer makes them that is handed interleaved streams.
fn overlapping(files: &Files) -> PathBuf {
    let path = files.path("overlapping.rt");
    let exchanges: Vec<_> = (0..40_u64)
        .flat_map(|block| (0..8).map(move |place| chat(place * 1000 + block, 1, [0])))
        .collect();
    write(&path, &header(1), blocks_of(8), &exchanges);
    path
}

#[test]
fn blocks_that_all_overlap_are_sorted_within_a_bound() {
    let files = Files::new();
    let path = overlapping(&files);
    let all = read(&path);
    assert!(all.is_sorted_by_key(|exchange| exchange.at));
    let mut trace = open(&[&path]);
    let block = size_of::<Exchange>() * 8 + 8 * 100;
    for blocks in [1, 3, 10] {
        let most = blocks * block;
        let mut exchanges = trace.exchanges().holding_at_most(most);
        let mut read = Vec::new();
        while let Some(exchange) = exchanges.next() {
            read.push(exchange.unwrap());
            assert!(exchanges.held_bytes() <= most.max(2 * block));
        }
        assert_eq!(read, all, "{blocks} blocks held");
        assert_eq!(exchanges.held_bytes(), 0);
    }
    assert!(!trace.damage().is_loss());
}

#[test]
fn reading_from_a_moment_on_gives_what_reading_all_does() {
    let files = Files::new();
    let path = overlapping(&files);
    let all = read(&path);
    let mut trace = open(&[&path]);
    for from in [0, 1, 39, 40, 2500, 7039, 7040, 9000].map(TraceTime::from_us) {
        let expected: Vec<_> = all.iter().filter(|e| e.at >= from).cloned().collect();
        let exchanges = trace.exchanges_from(from).holding_at_most(1);
        assert_eq!(exchanges.map(Result::unwrap).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_slice_holds_what_arrived_in_it_and_the_names_of_its_models() {
    let files = Files::new();
    let path = files.path("a.rt");
    let mut writer = TraceWriter::create(&path, &header(3), blocks_of(4)).unwrap();
    for at in 0..400_u64 {
        let model = ModelId(u32::try_from(at / 100).unwrap());
        if at % 100 == 0 && at < 300 {
            writer.keep_name(model, &format!("name-{}", model.0));
        }
        let exchange = Exchange {
            model: Some(model),
            ..chat(at, 1, [0])
        };
        writer.push(Recordable::content_free(exchange)).unwrap();
    }
    writer.account(&Totals {
        seen: 410,
        recorded: 400,
        dropped: [("memory".to_owned(), 10)].into(),
        ..Totals::default()
    });
    writer.finish().unwrap();
    let output = files.path("slice.rt");
    let moment = |us| Some(TraceTime::from_us(us));
    slice(&mut open(&[&path]), moment(90), moment(310), None, &output).unwrap();
    let sliced = read(&output);
    assert_eq!(times(&sliced), (90..310).collect::<Vec<_>>());
    let mut trace = open(&[&output]);
    assert_eq!(trace.exchanges().count(), 220);
    let names: Vec<_> = (0..4).map(|id| trace.model_name(ModelId(id))).collect();
    let kept = ["name-0", "name-1", "name-2"].map(Some);
    assert_eq!(names, [&kept[..], &[None]].concat());
    assert_eq!((trace.run(), trace.totals().seen), (Some(3), 220));
    let limited = files.path("limited.rt");
    slice(&mut open(&[&path]), moment(90), None, Some(5), &limited).unwrap();
    assert_eq!(times(&read(&limited)), [90, 91, 92, 93, 94]);
    let first = files.path("head.rt");
    head(&mut open(&[&path]), 3, &first).unwrap();
    assert_eq!(times(&read(&first)), [0, 1, 2]);
}

/// A file in which the name of its one model comes late, as under a policy that keeps names of models seen often.
fn named_late(files: &Files, name: &str, run: u64, from_us: u64) -> PathBuf {
    let path = files.path(name);
    let header = Header {
        policy: Some(Policy {
            name_threshold: 50,
            ..Policy::default()
        }),
        ..header(run)
    };
    let mut writer = TraceWriter::create(&path, &header, blocks_of(4)).unwrap();
    for at in 0..100 {
        if at == 50 {
            writer.keep_name(ModelId(0), "the-model");
        }
        let exchange = Exchange {
            model: Some(ModelId(0)),
            ..chat(from_us + at, 1, [0])
        };
        writer.push(Recordable::content_free(exchange)).unwrap();
    }
    writer.finish().unwrap();
    path
}

#[test]
fn a_name_that_comes_late_is_known_from_the_first_exchange_on() {
    let files = Files::new();
    let one = named_late(&files, "a.rt", 1, 0);
    let two = named_late(&files, "b.rt", 2, 1_000);
    let of_model = Filter {
        models: vec!["the-model".to_owned()],
        ..Filter::default()
    };
    let output = files.path("chosen.rt");
    let copied = filter(&mut open(&[&one]), &of_model, &output).unwrap();
    assert_eq!(copied.exchanges, 100);
    let early = files.path("early.rt");
    slice(
        &mut open(&[&one]),
        None,
        Some(TraceTime::from_us(10)),
        None,
        &early,
    )
    .unwrap();
    let mut trace = open(&[&early]);
    assert_eq!(trace.exchanges().count(), 10);
    assert_eq!(trace.model_name(ModelId(0)), Some("the-model"));
    // Models of two files are one by their name, from the first exchange of the second on.
    let models = |mut trace: Trace| -> Vec<_> {
        let all = trace.exchanges().map(|exchange| exchange.unwrap().model);
        all.collect()
    };
    assert!(models(open(&[&one, &two])) == vec![Some(ModelId(0)); 200]);
    let merged = files.path("merged.rt");
    merge(&mut open(&[&one, &two]), &merged).unwrap();
    assert!(models(open(&[&merged])) == vec![Some(ModelId(0)); 200]);
}

#[test]
fn a_filter_takes_what_meets_every_condition() {
    let files = Files::new();
    let path = files.path("a.rt");
    let tokens = |count| {
        Some(TokenCount {
            count,
            source: TokenSource::Usage,
        })
    };
    let mut exchanges: Vec<_> = (0..6).map(|at| chat(at, 1, [0])).collect();
    exchanges[0].endpoint = Endpoint::Messages;
    exchanges[1].outcome = Outcome::Rejected;
    exchanges[1].response.status = 429;
    exchanges[2].model = Some(ModelId(3));
    exchanges[3].session = Some(SessionId(2));
    exchanges[4].request.prompt_tokens = None;
    exchanges[4].response.output_tokens = tokens(9);
    exchanges[5].request.params.stream = false;
    write(&path, &header(1), blocks_of(2), &exchanges);
    let taken = |conditions: Filter| {
        let output = files.path("out.rt");
        self::filter(&mut open(&[&path]), &conditions, &output).unwrap();
        let taken = times(&read(&output));
        fs::remove_file(output).unwrap();
        taken
    };
    let all = Filter::default;
    assert_eq!(taken(all()), [0, 1, 2, 3, 4, 5]);
    let endpoints = vec![Endpoint::Messages, Endpoint::Other];
    assert_eq!(taken(Filter { endpoints, ..all() }), [0]);
    let outcomes = vec!["rejected".to_owned()];
    assert_eq!(taken(Filter { outcomes, ..all() }), [1]);
    let statuses = vec!["4xx".parse().unwrap()];
    assert_eq!(taken(Filter { statuses, ..all() }), [1]);
    let statuses = vec!["200".parse().unwrap()];
    assert_eq!(taken(Filter { statuses, ..all() }), [0, 2, 3, 4, 5]);
    let models = vec!["model-3".to_owned()];
    assert_eq!(taken(Filter { models, ..all() }), [2]);
    let sessions = vec![SessionId(2)];
    assert_eq!(taken(Filter { sessions, ..all() }), [3]);
    let stream = Some(false);
    assert_eq!(taken(Filter { stream, ..all() }), [5]);
    let prompt_tokens = Range {
        least: Some(75),
        most: Some(75),
    };
    assert_eq!(
        taken(Filter {
            prompt_tokens,
            ..all()
        }),
        [0, 1, 2, 3, 5]
    );
    let output_tokens = Range {
        least: None,
        most: Some(9),
    };
    let both = Filter {
        prompt_tokens,
        output_tokens,
        ..all()
    };
    assert_eq!(taken(both), [0_u64; 0]);
    assert_eq!(
        taken(Filter {
            output_tokens,
            ..all()
        }),
        [4]
    );
    let named = Filter {
        models: vec!["gpt".to_owned()],
        ..all()
    };
    let of_model = &exchanges[2];
    assert!(named.takes(of_model, Some("gpt")) && !named.takes(of_model, Some("other")));
    assert!("4x".parse::<crate::trace::StatusRange>().is_err());
}

#[test]
fn nothing_is_written_over_and_nothing_half_written_stays() {
    let files = Files::new();
    let path = files.of("a.rt", &header(1), [0]);
    let before = fs::read(&path).unwrap();
    let error = merge(&mut open(&[&path]), &path).unwrap_err();
    assert!(matches!(error, TraceError::Exists { .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(files.0.path()).unwrap().count(), 1);
}

#[test]
fn verify_and_repair_agree_with_the_reader_wherever_a_byte_is_flipped_or_the_file_cut() {
    let files = Files::new();
    let path = files.of("a.rt", &header(1), (0..12).map(|at| at * 10));
    let sound = verify(std::slice::from_ref(&path)).unwrap().remove(0);
    assert!(sound.is_sound() && sound.finished);
    assert_eq!((sound.blocks, sound.exchanges), (6, 12));
    let bytes = fs::read(&path).unwrap();
    let start = header(1).encode().len();
    let wounded = files.path("wounded.rt");
    let output = files.path("repaired.rt");
    let check = |bytes: &[u8], flipped: bool, at: usize| {
        fs::write(&wounded, bytes).unwrap();
        let check = verify(std::slice::from_ref(&wounded)).unwrap().remove(0);
        let mut trace = open(&[&wounded]);
        let copied = repair(&mut trace, &output).unwrap();
        assert_eq!(copied.exchanges, check.exchanges, "at {at}");
        assert_eq!(
            copied.damage.lost_exchanges, check.lost_exchanges,
            "at {at}"
        );
        if copied.damage.is_loss() || flipped {
            assert!(!check.is_sound(), "at {at}");
        }
        let repaired = verify(std::slice::from_ref(&output)).unwrap().remove(0);
        assert!(repaired.is_sound() && repaired.finished, "at {at}");
        assert_eq!(repaired.exchanges, check.exchanges, "at {at}");
        fs::remove_file(&output).unwrap();
    };
    // Each asks the disk for three files; damage.rs reads with every byte flipped.
    for at in (start..bytes.len()).step_by(11) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x22;
        check(&flipped, true, at);
        check(&bytes[..at], false, at);
    }
    for at in 0..start {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x22;
        fs::write(&wounded, &flipped).unwrap();
        assert!(verify(std::slice::from_ref(&wounded)).is_err(), "at {at}");
    }
    // In a directory such a file is a fault of its own.
    let checks = verify(&[files.0.path().to_owned()]).unwrap();
    assert_eq!(checks.len(), 2);
    assert!(checks[0].is_sound() && !checks[1].is_sound());
}

#[test]
fn a_repaired_file_tells_what_it_lost() {
    let files = Files::new();
    let path = files.path("a.rt");
    let mut writer = TraceWriter::create(&path, &header(1), blocks_of(2)).unwrap();
    writer.account(&Totals {
        seen: 11,
        recorded: 10,
        sampled_out: 1,
        ..Totals::default()
    });
    for at in 0..10 {
        let exchange = Recordable::content_free(chat(at, 1, [0]));
        writer.push(exchange).unwrap();
    }
    writer.finish().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[header(1).encode().len() + 70] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let output = files.path("b.rt");
    let copied = repair(&mut open(&[&path]), &output).unwrap();
    assert_eq!((copied.exchanges, copied.damage.lost_exchanges), (8, 2));
    let totals = open(&[&output]).totals();
    assert_eq!((totals.seen, totals.recorded, totals.lost()), (11, 8, 2));
    assert_eq!(totals.dropped["damaged"], 2);
}
