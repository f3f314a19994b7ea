use std::fs;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;

use super::{blocks_of, chat, header, read, write};
use crate::anonymise::Recordable;
use crate::shape::{Exchange, Outcome};
use crate::trace::{Recipient, Trace, TraceError, TraceWriter, WriterOptions, unlock_with};

/// A fresh pair: whom to seal to, and the identity as `age-keygen` would write it.
fn pair() -> (Recipient, String) {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string().parse().unwrap();
    (recipient, identity.to_string().expose_secret().to_owned())
}

fn unlock(directory: &Path, identity: &str) {
    let path = directory.join("identity");
    fs::write(&path, format!("# a comment\n{identity}\n")).unwrap();
    unlock_with(&path).unwrap();
}

fn sealed_to(recipient: Recipient) -> WriterOptions {
    WriterOptions {
        recipients: vec![recipient],
        ..blocks_of(4)
    }
}

fn exchanges() -> Vec<Exchange> {
    (0..20_u32)
        .map(|i| chat(u64::from(i) * 1000, 500, [0, 1, i + 2]))
        .collect()
}

#[test]
fn a_sealed_trace_reads_back_with_its_identity_and_only_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt.age");
    let (recipient, identity) = pair();
    write(&path, &header(1), sealed_to(recipient), &exchanges());
    let locked = Trace::open(&[directory.path().to_owned()]).err().unwrap();
    // Other tests of this process may have given identities of their own by now.
    assert!(
        matches!(
            locked,
            TraceError::Sealed { .. } | TraceError::NotOurs { .. }
        ),
        "{locked}"
    );
    assert!(Trace::headers_of(std::slice::from_ref(&path)).is_ok());
    unlock(directory.path(), &pair().1);
    let locked = Trace::open(std::slice::from_ref(&path)).err().unwrap();
    assert!(matches!(locked, TraceError::NotOurs { .. }), "{locked}");
    unlock(directory.path(), &identity);
    assert_eq!(read(&path), exchanges());
}

fn fixture(name: &str) -> PathBuf {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/traces");
    traces.join(name)
}

/// What the golden files of 1.1 hold, sealed to an identity that is a fixture, too.
#[test]
fn golden_files_that_are_sealed_read_as_ever() {
    let identity = fixture("golden-1.1-sealed.identity");
    let files = ["", "-unfinished"].map(|end| {
        (
            fixture(&format!("golden-1.1{end}.rt")),
            fixture(&format!("golden-1.1-sealed{end}.rt.age")),
        )
    });
    if std::env::var_os("REENACT_WRITE_GOLDEN").is_some() {
        let (recipient, secret) = pair();
        fs::write(&identity, format!("{secret}\n")).unwrap();
        for (clear, sealed) in &files {
            seal_golden(clear, sealed, recipient.clone());
        }
    }
    unlock_with(&identity).unwrap();
    for (clear, sealed) in &files {
        assert_eq!(lines(sealed), lines(clear), "{}", sealed.display());
        let checks = crate::trace::verify(std::slice::from_ref(sealed)).unwrap();
        assert!(checks[0].is_sound() && checks[0].blocks > 1, "{checks:?}");
    }
    let in_flight = "\"kind\":\"in_flight\"";
    let last = lines(&files[1].1);
    assert!(last.iter().any(|line| line.contains(in_flight)));
}

fn lines(path: &Path) -> Vec<String> {
    let mut trace = Trace::open(&[path.to_owned()]).unwrap();
    let exchanges = trace.exchanges().map(Result::unwrap);
    let lines = exchanges.map(|exchange| serde_json::to_string(&exchange).unwrap());
    lines.collect()
}

/// Seals what a golden file holds; one that is not finished stays so.
fn seal_golden(clear: &Path, sealed: &Path, recipient: Recipient) {
    drop(fs::remove_file(sealed));
    let mut trace = Trace::open(&[clear.to_owned()]).unwrap();
    let (header, totals) = (trace.header().clone(), trace.totals());
    let unfinished = trace.damage().unfinished_files > 0;
    let mut writer = TraceWriter::create(sealed, &header, sealed_to(recipient)).unwrap();
    writer.account(&totals);
    for (key, exchange) in (0..).zip(trace.exchanges().map(Result::unwrap)) {
        let in_flight = matches!(exchange.outcome, Outcome::InFlight { .. });
        let exchange = Recordable::content_free(exchange);
        match in_flight {
            true => writer.open(key, exchange),
            false => writer.push(exchange).unwrap(),
        }
    }
    match unfinished {
        true => writer.flush().unwrap(),
        false => writer.finish().unwrap(),
    }
}

#[test]
fn no_column_of_a_sealed_trace_is_in_clear() {
    let directory = tempfile::tempdir().unwrap();
    let (recipient, _) = pair();
    let (clear, sealed) = (
        directory.path().join("a.rt"),
        directory.path().join("b.rt.age"),
    );
    write(&clear, &header(1), blocks_of(4), &exchanges());
    write(&sealed, &header(1), sealed_to(recipient), &exchanges());
    let zstd = [0x28, 0xb5, 0x2f, 0xfd];
    let frames = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        memchr::memmem::find_iter(&bytes, &zstd).count()
    };
    assert_eq!(frames(&clear), 6, "five blocks and the footer");
    assert_eq!(frames(&sealed), 1, "the footer");
}

#[test]
fn a_sealed_file_cut_anywhere_reads_up_to_the_last_whole_block() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt.age");
    let (recipient, identity) = pair();
    write(&path, &header(1), sealed_to(recipient), &exchanges());
    unlock(directory.path(), &identity);
    let ends: Vec<u64> = {
        let trace = Trace::open(std::slice::from_ref(&path)).unwrap();
        let blocks = &trace.files[0].file.blocks;
        blocks.iter().map(|block| block.offset).collect()
    };
    let bytes = fs::read(&path).unwrap();
    let cut = directory.path().join("cut.rt.age");
    let first = usize::try_from(ends[0]).unwrap();
    for len in (first..bytes.len()).step_by(7) {
        fs::write(&cut, &bytes[..len]).unwrap();
        let mut trace = Trace::open(std::slice::from_ref(&cut)).unwrap();
        let read: Vec<_> = trace.exchanges().map(Result::unwrap).collect();
        // A block is whole where the next one begins, or the footer would.
        let whole = ends[1..].iter().filter(|&&end| end <= len as u64).count();
        assert!(read.len() >= whole * 4, "cut at {len}");
        assert_eq!(read, exchanges()[..read.len()]);
    }
}

#[test]
fn what_was_changed_in_a_payload_or_its_frame_does_not_open() {
    use crate::trace::file::read_block;
    use crate::trace::frame::FRAME;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.rt.age");
    let (recipient, identity) = pair();
    write(&path, &header(1), sealed_to(recipient), &exchanges());
    unlock(directory.path(), &identity);
    let trace = Trace::open(std::slice::from_ref(&path)).unwrap();
    let entry = trace.files[0].file.blocks[1];
    let file = trace.files[0].file.place.open().unwrap();
    let (frame, payload) = read_block(&file, entry.offset, u64::MAX).unwrap().unwrap();
    // Whoever changes it can mend the checksums.
    let reads = |change: &dyn Fn(&mut crate::trace::frame::Frame, &mut Vec<u8>)| {
        let (mut frame, mut payload) = (frame, payload.clone());
        change(&mut frame, &mut payload);
        frame.payload_crc = crc32c::crc32c(&payload);
        let mut changed = fs::read(&path).unwrap();
        let at = usize::try_from(entry.offset).unwrap();
        changed[at..at + FRAME].copy_from_slice(&frame.encode());
        changed[at + FRAME..at + FRAME + payload.len()].copy_from_slice(&payload);
        let path = directory.path().join("changed.rt.age");
        fs::write(&path, changed).unwrap();
        let mut trace = Trace::open(&[path]).unwrap();
        trace.exchanges().map(Result::unwrap).count()
    };
    assert_eq!(reads(&|_, _| {}), 20);
    let last = payload.len() - 1;
    for at in [8, 23, 24, 40, last] {
        assert_eq!(reads(&|_, payload| payload[at] ^= 1), 16, "byte {at}");
    }
    assert_eq!(reads(&|frame, _| frame.last_at_us += 1), 16);
    assert_eq!(reads(&|frame, _| frame.ids.models += 1), 16);
}

#[test]
fn blocks_in_clear_or_of_another_file_do_not_read_in_a_sealed_one() {
    let directory = tempfile::tempdir().unwrap();
    let (recipient, identity) = pair();
    unlock(directory.path(), &identity);
    let written = |name: &str, options: WriterOptions| {
        let path = directory.path().join(name);
        write(&path, &header(1), options, &exchanges());
        let bytes = fs::read(&path).unwrap();
        let trace = Trace::open(&[path]).unwrap();
        let at = |block: usize| usize::try_from(trace.files[0].file.blocks[block].offset).unwrap();
        (
            bytes[..at(0)].to_vec(),
            bytes[at(0)..at(1)].to_vec(),
            bytes[at(1)..at(2)].to_vec(),
        )
    };
    let (sealed_head, own, next) = written("a.rt.age", sealed_to(recipient.clone()));
    let (_, foreign, _) = written("b.rt.age", sealed_to(recipient));
    let (clear_head, clear, _) = written("c.rt", blocks_of(4));
    let reads = |parts: [&[u8]; 3]| {
        let path = directory.path().join("forged.rt.age");
        fs::write(&path, parts.concat()).unwrap();
        let mut trace = Trace::open(std::slice::from_ref(&path)).unwrap();
        let exchanges = trace.exchanges().map(Result::unwrap).count();
        let check = &crate::trace::verify(&[path]).unwrap()[0];
        let damage = trace.damage();
        assert_eq!(damage.bad_blocks, check.faults.len() as u64);
        (exchanges, damage.lost_exchanges)
    };
    assert_eq!(reads([&sealed_head, &own, &next]), (8, 0));
    assert_eq!(reads([&sealed_head, &clear, &next]), (4, 4));
    assert_eq!(reads([&sealed_head, &foreign, &next]), (4, 4));
    assert_eq!(reads([&clear_head, &clear, &own]), (4, 4));
}

#[test]
fn key_files_that_hold_something_else_are_refused_by_line_and_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    fs::write(&path, "# mine\n\nAGE-SECRET-KEY-1SECRET\n").unwrap();
    let errors = [
        unlock_with(&path).unwrap_err(),
        Recipient::read_all(&path).unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(
            text.contains("line 3") && !text.contains("SECRET-KEY-1SECRET"),
            "{text}"
        );
        assert!(error.hint().unwrap().contains("age-keygen"));
    }
    fs::write(&path, "# nothing\n").unwrap();
    assert!(matches!(unlock_with(&path), Err(TraceError::NoKeys { .. })));
}
