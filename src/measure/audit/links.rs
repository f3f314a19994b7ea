use std::collections::HashSet;

use serde::Serialize;

use super::tally::Tally;
use super::{CLASSES, FEW};
use crate::shape::{BlockId, Exchange};

/// What of a trace belongs together: once one exchange of a group is known, so are the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Links {
    /// Sessions.
    pub sessions: u64,
    /// Sessions of more than one exchange.
    pub shared_sessions: u64,
    /// Exchanges that share their session with another.
    pub in_sessions: u64,
    /// Clients that have a pseudonym.
    pub clients: u64,
    /// Exchanges whose prompt begins like another's.
    pub sharing_a_beginning: u64,
    /// Of those, the ones that fewer than [`FEW`] exchanges begin like: hardly a template, rather one person's conversation.
    pub sharing_with_few: u64,
    /// Exchanges whose prompt holds all of an earlier one, but perhaps the block in which that ended: its next turn, the same again, or
    /// another question about the same text.
    pub continuing: u64,
    /// Models, by pseudonym or name.
    pub models: u64,
    /// Models that fewer than [`FEW`] exchanges asked for.
    pub rare_models: u64,
    /// Whether all groups could be told apart; else the figures are too low.
    pub complete: bool,
}

pub(super) struct LinkMeter {
    sessions: Tally,
    clients: Tally,
    beginnings: Tally,
    models: Tally,
    /// The last blocks of prompts so far, and those before the last that were each prompt's own.
    ends: HashSet<u32>,
    continuing: u64,
    complete: bool,
}

impl Default for LinkMeter {
    fn default() -> Self {
        Self {
            sessions: Tally::of(CLASSES),
            clients: Tally::of(CLASSES),
            beginnings: Tally::of(CLASSES),
            models: Tally::of(CLASSES),
            ends: HashSet::new(),
            continuing: 0,
            complete: true,
        }
    }
}

impl LinkMeter {
    pub(super) fn add(&mut self, exchange: &Exchange) {
        let add = |tally: &mut Tally, id: Option<u32>| {
            if let Some(id) = id {
                tally.add(id.into());
            }
        };
        add(
            &mut self.sessions,
            exchange.session.map(|session| session.0),
        );
        add(&mut self.clients, exchange.client.map(|client| client.0));
        add(&mut self.models, exchange.model.map(|model| model.0));
        let blocks = &exchange.request.blocks;
        add(&mut self.beginnings, blocks.first().map(|block| block.0));
        let known = |block: &BlockId| self.ends.contains(&block.0);
        self.continuing += u64::from(blocks.iter().any(known));
        // What follows a prompt mostly fills the block in which it ended, which then is another one. The block before tells a
        // continuation as well, unless it is a template's, which is nobody's own. Blocks that a prompt was the first to have were
        // numbered one after another, though not in the order of arrivals: a recorder numbers them when an exchange is over.
        let own = match blocks.as_slice() {
            [.., whole, last] if last.0.checked_sub(1) == Some(whole.0) => Some(whole),
            _ => None,
        };
        for end in blocks.last().into_iter().chain(own) {
            if self.ends.len() < 2 * CLASSES {
                self.ends.insert(end.0);
            } else {
                self.complete = false;
            }
        }
    }

    pub(super) fn finish(self) -> Links {
        let shared = |tally: &Tally| tally.total() - tally.unique();
        let tallies = [
            &self.sessions,
            &self.clients,
            &self.beginnings,
            &self.models,
        ];
        let few = self.beginnings.in_classes_below(FEW) - self.beginnings.unique();
        Links {
            sessions: self.sessions.distinct(),
            shared_sessions: self.sessions.distinct() - self.sessions.unique(),
            in_sessions: shared(&self.sessions),
            clients: self.clients.distinct(),
            sharing_a_beginning: shared(&self.beginnings),
            sharing_with_few: few,
            continuing: self.continuing,
            models: self.models.distinct(),
            rare_models: self.models.classes_below(FEW),
            complete: self.complete && tallies.iter().all(|tally| tally.is_complete()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Endpoint, Method, TraceTime};

    fn continuing(prompts: &[&[u32]]) -> u64 {
        let mut meter = LinkMeter::default();
        for ids in prompts {
            let mut exchange = Exchange::bare(
                TraceTime::default(),
                Endpoint::ChatCompletions,
                Method::Post,
            );
            exchange.request.blocks = ids.iter().copied().map(BlockId).collect();
            meter.add(&exchange);
        }
        meter.finish().continuing
    }

    #[test]
    fn a_turn_is_found_whatever_came_before_and_was_over_after() {
        let (turn, next): (&[u32], &[u32]) = (&[0, 1, 2], &[0, 1, 3, 4]);
        assert_eq!(continuing(&[turn, next]), 1);
        assert_eq!(continuing(&[&[7, 8, 9], turn, next]), 1);
        assert_eq!(continuing(&[turn, turn]), 1);
    }

    #[test]
    fn who_shares_a_template_alone_goes_on_with_nobodys_prompt() {
        assert_eq!(continuing(&[&[0, 1, 2, 3], &[0, 4], &[0, 5]]), 0);
    }
}
