use super::*;
use crate::anonymise::Policy;
use crate::record::tape::ledger::{Ledger, Share};
use crate::shape::{Endpoint, Exchange, Method, ShapeStatus, TraceTime};
use crate::trace::Trace;

fn writer(dir: &Path) -> Writer {
    let options = TraceOptions {
        dir: dir.to_owned(),
        name: "trace".to_owned(),
        policy: Policy::default(),
        operator_key: None,
        recipients: Vec::new(),
        sample: 1.0,
        tokenizer: None,
        every_gap: false,
        session_header: None,
        dialects: Vec::new(),
        capture_memory: 1 << 20,
        max_body: 1 << 20,
        rotate_bytes: 1 << 30,
        rotate_age: Duration::from_secs(3600),
        keeping: crate::record::Keeping::default(),
    };
    Writer::open(&options, 1, None, Arc::default(), Arc::default()).unwrap()
}

fn keep(writer: &mut Writer, ledger: &Arc<Ledger>, generation: u64) {
    writer.accounts.arrive();
    writer.accounts.leave();
    let exchange = Exchange {
        shape: ShapeStatus::Generic,
        ..Exchange::bare(TraceTime::default(), Endpoint::Other, Method::Get)
    };
    writer.carry_out(Order::Keep {
        generation,
        id: 0,
        recordable: Box::new(Recordable::content_free(exchange)),
        charge: ledger.charge(100, Share::All).unwrap(),
    });
}

#[test]
fn exchanges_weigh_until_their_block_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    let ledger = Ledger::new(1000);
    keep(&mut writer, &ledger, 1);
    keep(&mut writer, &ledger, 1);
    assert_eq!(ledger.held(), 200);
    writer.flush();
    assert_eq!(ledger.held(), 0);
}

#[test]
fn after_a_panic_another_file_is_begun_and_each_tells_its_own_part() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    let ledger = Ledger::new(1000);
    keep(&mut writer, &ledger, 1);
    writer.flush();
    keep(&mut writer, &ledger, 1);
    writer.guarded(|_| panic!("a bug"));
    assert_eq!((writer.state.broken(), ledger.held()), (1, 0));
    keep(&mut writer, &ledger, 1);
    writer.carry_out(Order::Begin { generation: 2 });
    keep(&mut writer, &ledger, 2);
    writer.close();
    let trace = Trace::open(&[dir.path().to_owned()]).unwrap();
    let totals = trace.totals();
    assert_eq!((totals.seen, totals.recorded), (4, 2));
    assert_eq!(
        totals.dropped,
        [("panic".to_owned(), 1), ("write_error".to_owned(), 1)].into()
    );
    assert_eq!(trace.exchange_count(), 2);
}

#[test]
fn what_was_lost_after_the_last_block_stands_in_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    keep(&mut writer, &Ledger::new(1000), 1);
    writer.flush();
    writer.accounts.drop_many(DropReason::Memory, 3);
    writer.close();
    let totals = Trace::open(&[dir.path().to_owned()]).unwrap().totals();
    assert_eq!((totals.seen, totals.recorded), (4, 1));
    assert_eq!(totals.dropped["memory"], 3);
}

fn totals_below(dir: &Path) -> Totals {
    Trace::open(&[dir.to_owned()]).unwrap().totals()
}

#[test]
fn accounts_are_told_once_where_the_next_file_cannot_be_begun() {
    let dir = tempfile::tempdir().unwrap();
    let traces = dir.path().join("traces");
    let mut writer = writer(&traces);
    let ledger = Ledger::new(1000);
    keep(&mut writer, &ledger, 1);
    writer.flush();
    keep(&mut writer, &ledger, 1);
    // The file can be written to where it is now, and none can be made beside it.
    let away = dir.path().join("away");
    std::fs::rename(&traces, &away).unwrap();
    writer.carry_out(Order::Begin { generation: 2 });
    assert_eq!((writer.path(), ledger.held()), (None, 0));
    let before = totals_below(&away);
    assert_eq!((before.seen, before.recorded), (2, 2));
    std::fs::rename(&away, &traces).unwrap();
    keep(&mut writer, &ledger, 2);
    writer.carry_out(Order::Begin { generation: 3 });
    keep(&mut writer, &ledger, 3);
    writer.close();
    let after = totals_below(&traces);
    assert_eq!((after.seen, after.recorded), (4, 3), "each exchange once");
    assert_eq!(after.dropped.values().sum::<u64>(), 1);
}

#[test]
fn what_is_open_weighs_until_the_file_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    let ledger = Ledger::new(1000);
    let open = |writer: &mut Writer, id| {
        let exchange = Exchange::bare(TraceTime::default(), Endpoint::Other, Method::Get);
        writer.carry_out(Order::Open {
            generation: 1,
            id,
            recordable: Box::new(Recordable::content_free(exchange)),
            charge: ledger.charge(100, Share::All).unwrap(),
        });
    };
    open(&mut writer, 7);
    open(&mut writer, 8);
    // A block of what has ended does not let go of what is open.
    keep(&mut writer, &ledger, 1);
    writer.settle(false, &Ok(()));
    assert_eq!(ledger.held(), 300);
    writer.flush();
    assert_eq!(ledger.held(), 0);
    open(&mut writer, 9);
    writer.guarded(|_| panic!("a bug"));
    assert_eq!(ledger.held(), 0, "nor what is lost with its file");
}
