use super::*;
use crate::anonymise::Policy;
use crate::record::tape::ledger::{Ledger, Share};
use crate::shape::{Endpoint, Exchange, Method, Outcome, ShapeStatus, TraceTime};
use crate::trace::{Trace, trace_files};

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

fn begin(generation: u64) -> Order {
    let open = Vec::new();
    Order::Begin { generation, open }
}

fn open(ledger: &Arc<Ledger>, id: u64) -> Open {
    let mut exchange = Exchange::bare(TraceTime::from_us(id), Endpoint::Other, Method::Get);
    exchange.outcome = Outcome::InFlight { at_us: 5 };
    Open {
        id,
        recordable: Box::new(Recordable::content_free(exchange)),
        charge: ledger.charge(100, Share::All).unwrap(),
    }
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
    writer.carry_out(begin(2));
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
    writer.carry_out(begin(2));
    assert_eq!((writer.path(), ledger.held()), (None, 0));
    let before = totals_below(&away);
    assert_eq!((before.seen, before.recorded), (2, 2));
    std::fs::rename(&away, &traces).unwrap();
    keep(&mut writer, &ledger, 2);
    writer.carry_out(begin(3));
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
    let told = |writer: &mut Writer, id| {
        writer.carry_out(Order::Open {
            generation: 1,
            open: open(&ledger, id),
        });
    };
    told(&mut writer, 7);
    told(&mut writer, 8);
    // A block of what has ended does not let go of what is open.
    keep(&mut writer, &ledger, 1);
    writer.settle(false, &Ok(()));
    assert_eq!(ledger.held(), 300);
    writer.flush();
    assert_eq!(ledger.held(), 0);
    told(&mut writer, 9);
    writer.guarded(|_| panic!("a bug"));
    assert_eq!(ledger.held(), 0, "nor what is lost with its file");
}

#[test]
fn what_is_in_flight_goes_from_file_to_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    let ledger = Ledger::new(1000);
    let in_flight = || {
        let mut trace = Trace::open(&[dir.path().to_owned()]).unwrap();
        let read: Vec<_> = trace.exchanges().map(Result::unwrap).collect();
        let open = |e: &&Exchange| matches!(e.outcome, Outcome::InFlight { .. });
        let times = read.iter().filter(open).map(|exchange| exchange.at.us());
        times.collect::<Vec<_>>()
    };
    writer.carry_out(Order::Open {
        generation: 1,
        open: open(&ledger, 7),
    });
    writer.flush();
    assert_eq!(in_flight(), [7]);
    // Without a flush of its own the next file has it.
    writer.carry_out(Order::Begin {
        generation: 2,
        open: vec![open(&ledger, 7)],
    });
    assert_eq!((in_flight(), ledger.held()), (vec![7], 0));
    assert_eq!(trace_files(dir.path(), "trace").unwrap().len(), 2);
    // Nor where the file before was given up.
    writer.guarded(|_| panic!("a bug"));
    assert_eq!(in_flight(), [7]);
    writer.carry_out(Order::Begin {
        generation: 3,
        open: vec![open(&ledger, 7)],
    });
    assert_eq!(in_flight(), [7]);
    keep(&mut writer, &ledger, 3);
    writer.carry_out(Order::Forget {
        generation: 3,
        id: 7,
    });
    writer.flush();
    assert_eq!(in_flight(), [0; 0]);
}
