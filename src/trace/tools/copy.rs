//! Exchanges of a trace into a new file: what all tools that write have in common.

use std::collections::BTreeSet;
use std::path::Path;

use crate::anonymise::Recordable;
use crate::shape::{Exchange, TraceTime};
use crate::trace::{Damage, Exchanges, Totals, Trace, TraceError, TraceWriter, WriterOptions};

/// What came of writing a new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Exchanges in it.
    pub exchanges: u64,
    /// What of the old ones could not be read.
    pub damage: Damage,
}

/// What becomes of an exchange.
pub(super) enum Choice {
    Take,
    Leave,
    /// It and all after it are left.
    Stop,
}

/// What of the old files' accounts the new file carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accounts {
    /// All: what they hold is in it, but for what was damaged.
    Whole,
    /// Of a part nobody knows which losses fall into it.
    Part,
}

/// Copies what `choose` takes of the exchanges from a moment on.
pub(super) fn copy(
    trace: &mut Trace,
    from: TraceTime,
    output: &Path,
    accounts: Accounts,
    mut choose: impl FnMut(&Exchange, &Exchanges<'_>) -> Choice,
) -> Result<Copied, TraceError> {
    let header = trace.joint_header()?;
    let earlier = trace.totals();
    trace.learn_names(from)?;
    let mut writer = TraceWriter::create_whole(output, &header, WriterOptions::default())?;
    let mut named = BTreeSet::new();
    let mut taken = 0;
    let mut exchanges = trace.exchanges_from(from);
    while let Some(exchange) = exchanges.next() {
        let exchange = exchange?;
        match choose(&exchange, &exchanges) {
            Choice::Take => {}
            Choice::Leave => continue,
            Choice::Stop => break,
        }
        if let Some(model) = exchange.model
            && !named.contains(&model)
            && let Some(name) = exchanges.model_name(model)
        {
            writer.keep_name(model, name);
            named.insert(model);
        }
        taken += 1;
        // Before the push, which may cut the block that carries them.
        writer.account(&part(taken, &earlier));
        writer.push(Recordable::content_free(exchange))?;
    }
    let damage = trace.damage();
    writer.account(&match accounts {
        Accounts::Whole => whole(taken, &damage, earlier),
        Accounts::Part => part(taken, &earlier),
    });
    writer.finish()?;
    Ok(Copied {
        exchanges: taken,
        damage,
    })
}

fn part(taken: u64, of: &Totals) -> Totals {
    Totals {
        seen: taken,
        recorded: taken,
        simulated: of.simulated.min(taken),
        ..Totals::default()
    }
}

/// What the old files held and do not give any more is a loss under a name of its own. They may hold more than they said: a
/// killed recorder's last words are those of its last block.
fn whole(taken: u64, damage: &Damage, mut of: Totals) -> Totals {
    let held = of.recorded.max(taken.saturating_add(damage.lost_exchanges));
    of.seen = of.seen.saturating_add(held - of.recorded);
    of.recorded = taken;
    if held > taken {
        let lost = of.dropped.entry(DAMAGED.to_owned()).or_default();
        *lost = lost.saturating_add(held - taken);
    }
    of
}

/// Why an exchange that was recorded is not in a merged or repaired file.
const DAMAGED: &str = "damaged";
