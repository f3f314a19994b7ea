use super::*;

fn stub(index: u64, number: u32, planned_us: u64, think_us: Option<u64>) -> Stub {
    Stub {
        index,
        planned_us,
        took_us: 40,
        turn: Turn {
            session: Some(7),
            number,
            think_us,
        },
    }
}

/// A first turn at 100 that took 40, and one that came 60 after its answer.
fn pair(mode: SessionMode) -> Book<&'static str> {
    let mut book = Book::new(mode);
    let first = book.read(stub(0, 0, 100, None), "first", 0);
    assert_eq!(first, Read::Open("first"));
    book.read(stub(5, 1, 200, Some(60)), "second", 0);
    book
}

const fn end(at_us: u64) -> End {
    End {
        at_us,
        failed: false,
    }
}

#[test]
fn a_linked_turn_is_handed_out_when_it_may_be_due_and_settled_by_the_answer() {
    let mut book = pair(SessionMode::Linked);
    assert_eq!(book.next_need_us(), Some(160));
    assert_eq!(book.next(159, true), None);
    let ready = book.next(160, true).unwrap();
    assert_eq!(ready.slot, "second");
    let Due::After(link) = ready.due else {
        panic!("{:?}", ready.due);
    };
    assert!(!book.is_settled());
    assert_eq!(book.ended(7, 0, end(900)), Some((5, 960)));
    assert_eq!(link.due_us(end(900)), 960);
    assert!(book.is_settled());
    let account = book.account();
    assert_eq!((account.turns, account.slipped), (1, 1));
    assert_eq!((account.slip_us, account.slip_max_us), (760, 760));
}

#[test]
fn without_trust_a_turn_is_handed_out_with_its_instant() {
    let mut book = pair(SessionMode::Linked);
    assert_eq!(book.next(1000, false), None);
    assert_eq!(book.ended(7, 0, end(110)), None);
    assert_eq!(book.next_need_us(), Some(170));
    let ready = book.next(170, false).unwrap();
    assert_eq!(ready.due, Due::At(170));
    assert_eq!(book.account().gain_us, 30);
    assert!(book.is_settled());
}

#[test]
fn an_early_look_at_a_turn_that_is_due_later_hands_out_nothing() {
    let mut book = pair(SessionMode::Linked);
    book.ended(7, 0, end(5000));
    assert_eq!(book.next(1000, true), None);
    assert_eq!(book.next(5060, true).unwrap().due, Due::At(5060));
}

#[test]
fn the_trace_is_read_as_far_ahead_as_a_turn_can_come_early() {
    let mut book = pair(SessionMode::Linked);
    assert_eq!(book.ahead_us(), 40);
    book.ended(7, 0, end(101));
    book.next(161, true);
    // It gained 39, and took 40 in production.
    assert_eq!(book.ahead_us(), 79);
    let catch_up = pair(SessionMode::CatchUp);
    assert_eq!(catch_up.ahead_us(), 0);
}

#[test]
fn catching_up_keeps_the_planned_instant_where_it_can() {
    let mut book = pair(SessionMode::CatchUp);
    assert_eq!(book.next_need_us(), Some(200));
    book.ended(7, 0, end(120));
    assert_eq!(book.next(200, true).unwrap().due, Due::At(200));
    let mut book = pair(SessionMode::CatchUp);
    book.next(200, true).unwrap();
    assert_eq!(book.ended(7, 0, end(320)), Some((5, 320)));
}

#[test]
fn independent_turns_wait_for_nothing() {
    let mut book = Book::new(SessionMode::Independent);
    for turn in [stub(0, 0, 100, None), stub(1, 1, 200, Some(60))] {
        assert_eq!(book.read(turn, "it", 0), Read::Open("it"));
        assert_eq!(book.key(turn.turn), None);
    }
    assert!(book.is_settled());
}

#[test]
fn an_overlapping_turn_moves_with_its_conversation() {
    let mut book = pair(SessionMode::Linked);
    // 30 after the second one, which was still open.
    book.read(stub(6, 2, 230, None), "third", 0);
    book.ended(7, 0, end(1000));
    assert_eq!(book.next(2000, true).unwrap().due, Due::At(1060));
    assert_eq!(book.next(2000, true).unwrap().due, Due::At(1090));
    // The end of the second one is nobody's business then.
    assert_eq!(book.ended(7, 5, end(1500)), None);
    assert!(book.is_settled());
}

#[test]
fn a_turn_that_is_read_too_late_is_counted_and_the_reader_sent_further_ahead() {
    let mut book = Book::new(SessionMode::Linked);
    book.read(stub(0, 0, 100, None), "first", 0);
    book.ended(7, 0, end(110));
    book.read(stub(1, 1, 5000, Some(10)), "second", 4000);
    assert_eq!(book.account().read_late, 1);
    assert_eq!(book.ahead_us(), 40 + 3880);
    assert_eq!(book.next(4000, true).unwrap().due, Due::At(120));
}

#[test]
fn a_conversation_that_begins_again_is_a_new_one() {
    let mut book = pair(SessionMode::Linked);
    book.ended(7, 0, end(110));
    let busy = book.read(stub(8, 0, 900, None), "overlaps", 0);
    assert_eq!(busy, Read::Waits);
    book.next(1000, true);
    book.next(1000, true);
    book.ended(7, 8, end(1100));
    let again = book.read(stub(9, 0, 9000, None), "again", 0);
    assert_eq!(again, Read::Open("again"));
}

#[test]
fn memory_is_bounded_but_what_waits_is_kept() {
    let mut book = pair(SessionMode::Linked);
    for n in 0..3 * GENERATION as u64 {
        let mut lone = stub(10 + n, 0, 300, None);
        lone.turn.session = Some(100 + n);
        book.read(lone, "lone", 0);
    }
    assert!(book.young.len() + book.old.len() <= 2 * GENERATION + 1);
    assert!(book.next(160, true).is_some(), "it waited all the while");
    let mut forgotten = stub(1 << 40, 1, 400, Some(1));
    forgotten.turn.session = Some(100);
    assert_eq!(book.read(forgotten, "open", 0), Read::Open("open"));
    assert_eq!(book.account().unlinked, 1);
}
