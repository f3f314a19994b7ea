//! A campaign carried out at a terminal: progress on standard error, the result on standard output, an exit code.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::progress::{Bar, say};
use crate::campaign::{Audience, Campaign, CampaignError, Live, Ran, Ticket};
use crate::cli::failure::{Exit, Failure};
use crate::cli::progress::{self as reading, Unit};
use crate::outward::RunStart;
use crate::replay::{Progress, RequestOutcome, Stop};
use crate::report::ResultDocument;
use crate::verdict::Status;

/// Runs it, with `live` to show it meanwhile; an interrupt ends it early with what was measured so far. Gives when its runs began, too.
pub(in crate::cli) fn conduct(
    campaign: &Campaign,
    live: Option<&Live>,
) -> Result<(Ran, Vec<RunStart>), Failure> {
    let stop = Stop::default();
    let asked = stop.clone();
    // A second handler in one process (the demo) is refused, and the first one serves.
    let _ = ctrlc::set_handler(move || {
        if asked.is_requested() {
            std::process::exit(130);
        }
        say("stopping: what was measured so far is reported (once more to leave at once)");
        asked.request();
    });
    let display = Display {
        live: live.cloned(),
        starts: Mutex::default(),
    };
    let ran = campaign.run(&display, &stop).map_err(failure)?;
    let starts = display.starts.into_inner();
    Ok((ran, starts.unwrap_or_else(PoisonError::into_inner)))
}

/// Fails where a directory does not hold all of a result; once it was told.
pub(in crate::cli) fn check_written(ran: Ran) -> Result<(), Failure> {
    match ran.unwritten {
        Some(error) => Err(failure(error.into())),
        None => Ok(()),
    }
}

/// Prints the result for a person, or as the document itself.
#[allow(
    clippy::print_stdout,
    reason = "the result is what standard output is for"
)]
pub(in crate::cli) fn print(document: &ResultDocument, json: bool) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string_pretty(document)? + "\n"
    } else {
        crate::report::summary(document)
    };
    match write!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// The exit code that a result ends in.
pub(in crate::cli) fn exit(document: &ResultDocument) -> Exit {
    match document.verdict.status {
        Status::Pass => Exit::Ok,
        Status::Fail => Exit::ObjectiveMissed,
        Status::Invalid => Exit::Invalid,
    }
}

/// A campaign's error with its hint.
pub(super) fn failure(error: CampaignError) -> Failure {
    let hint = error.hint();
    let failure = Failure::could_not_run(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Standard error, and the page of metrics where there is one.
#[derive(Default)]
pub(super) struct Display {
    live: Option<Live>,
    starts: Mutex<Vec<RunStart>>,
}

impl Audience for Display {
    fn say(&self, line: &str) {
        say(line);
    }

    fn reading(&self, exchanges: u64, read: &Arc<AtomicU64>) -> Box<dyn Send> {
        let read = Arc::clone(read);
        let done = move || read.load(Ordering::Relaxed);
        Box::new(reading::Bar::show(done, Some(exchanges), Unit::Exchanges))
    }

    fn watch(&self, ticket: &Ticket, progress: &Progress) -> Box<dyn Send> {
        if let Some(live) = &self.live {
            live.begin(ticket, progress);
        }
        Box::new(Bar::start(ticket, progress.clone()))
    }

    fn hear(&self, target: &str, outcome: &RequestOutcome) {
        if let Some(live) = &self.live {
            live.record(target, outcome);
        }
    }

    fn ran(&self, target: &str, run: u64, began: SystemTime) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.push(RunStart {
            target: target.to_owned(),
            run,
            at: began,
        });
    }
}
