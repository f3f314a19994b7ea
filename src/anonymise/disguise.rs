use std::ops::Range;

use crate::shape::BlockId;

/// What was made up for an exchange that a file was told of while it was in flight. The file holds it a second time once it has
/// ended, and says which of the two are one: whatever is drawn anew for the second copy shows what is true in the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disguise {
    /// What its arrival is put off by beside the recorder's shift, once that is drawn. The same in every file: of two delays of
    /// one arrival the smaller is nearer to the truth.
    pub(super) jitter_us: Option<u64>,
    /// What its chain was lengthened by.
    pub(super) padding: Option<Padding>,
}

/// Blocks at the end of a chain that stand for no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Padding {
    /// Whose numbers they are.
    pub(super) gate: u64,
    /// The last block before them.
    pub(super) after: Option<BlockId>,
    /// The first of them; the others go on from it one by one.
    pub(super) first: BlockId,
    pub(super) blocks: u32,
}

impl Padding {
    /// The blocks, where they can stand again: in the numbers of `gate`, after the same block. That one has another number where
    /// it has been forgotten, and what is made up must not outlive what is true.
    pub(super) fn again(self, gate: u64, after: Option<BlockId>) -> Option<Range<u32>> {
        let fits = self.gate == gate && self.after == after;
        fits.then(|| self.first.0..self.first.0.saturating_add(self.blocks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anonymise::{
        Anonymiser, ChainKey, Gates, OperatorKey, Policy, PromptRender, Sighting,
    };
    use crate::shape::{Endpoint, Exchange, Method, Outcome, Role, TraceTime};

    fn policy() -> Policy {
        Policy {
            lengths: "64".parse().unwrap(),
            time_jitter_us: 1_000_000,
            ..Policy::default()
        }
    }

    /// A request of so many letters, as it is seen.
    fn sighting(key: &ChainKey, letter: &str, length: usize, disguise: Disguise) -> Sighting {
        let mut render = PromptRender::new(key);
        render.message(Role::User);
        render.text(letter.repeat(length).as_bytes());
        let prompt = render.finish();
        let mut exchange = Exchange::bare(
            TraceTime::from_us(7),
            Endpoint::ChatCompletions,
            Method::Post,
        );
        exchange.request.messages = prompt.messages;
        Sighting {
            chain: prompt.chain,
            disguise,
            ..Sighting::of(exchange)
        }
    }

    fn announced(gate: &mut Anonymiser, length: usize, before: Disguise) -> (Exchange, Disguise) {
        let mut sighting = sighting(&gate.key().clone(), "a", length, before);
        sighting.exchange.outcome = Outcome::InFlight { at_us: 2_000_000 };
        let (recordable, disguise) = gate.announce(sighting);
        (recordable.into_exchange(), disguise)
    }

    fn admitted(gate: &mut Anonymiser, letter: &str, length: usize, before: Disguise) -> Exchange {
        let sighting = sighting(&gate.key().clone(), letter, length, before);
        gate.admit(sighting).into_exchange()
    }

    #[test]
    fn the_two_copies_of_an_exchange_have_the_same_chain_and_arrival() {
        let mut gate = Anonymiser::with_key(policy(), ChainKey::from_bytes([1; 16]));
        let mut lengthened = 0;
        for length in 1..600 {
            let (open, disguise) = announced(&mut gate, length, Disguise::default());
            // Others come in between, and take numbers.
            admitted(&mut gate, "b", 3 * length, Disguise::default());
            let ended = admitted(&mut gate, "a", length, disguise);
            assert_eq!(open.request.blocks, ended.request.blocks, "{length}");
            assert_eq!(open.at, ended.at);
            lengthened += usize::from(disguise.padding.is_some());
        }
        assert!(lengthened > 200, "{lengthened}");
    }

    #[test]
    fn a_file_that_goes_on_with_the_numbers_goes_on_with_what_is_made_up() {
        let key = OperatorKey::from_hex(&[b'7'; 64]);
        let mut gates = Gates::new(policy(), key.as_ref(), false, None).unwrap();
        let mut first = gates.next(1 << 20).unwrap();
        let (in_first, disguise) = announced(&mut first, 150, Disguise::default());
        gates.retire(first);
        let mut second = gates.next(1 << 20).unwrap();
        admitted(&mut second, "b", 1000, Disguise::default());
        let (in_second, disguise) = announced(&mut second, 150, disguise);
        let ended = admitted(&mut second, "a", 150, disguise);
        assert_eq!(in_first.request.blocks, in_second.request.blocks);
        assert_eq!(in_first.request.blocks, ended.request.blocks);
        assert!(disguise.padding.is_some());
    }

    #[test]
    fn a_file_of_its_own_numbers_has_the_arrival_only() {
        let mut gates = Gates::new(policy(), None, false, None).unwrap();
        let mut first = gates.next(1 << 20).unwrap();
        admitted(&mut first, "b", 10_000, Disguise::default());
        let (in_first, disguise) = announced(&mut first, 150, Disguise::default());
        let mut second = gates.next(1 << 20).unwrap();
        let ended = admitted(&mut second, "a", 150, disguise);
        assert_eq!(in_first.at, ended.at);
        assert!(disguise.padding.is_some());
        let blocks = ended.request.blocks;
        let ids: Vec<_> = (0..).map(BlockId).take(blocks.len()).collect();
        assert_eq!(blocks, ids, "the first of this file");
    }

    #[test]
    fn where_the_true_blocks_were_forgotten_so_are_those_that_were_made_up() {
        let key = ChainKey::from_bytes([1; 16]);
        let mut gate = Anonymiser::within(policy(), key, 2000);
        let (open, disguise) = announced(&mut gate, 150, Disguise::default());
        for length in 1..100 {
            admitted(&mut gate, &format!("{length} "), 200, Disguise::default());
        }
        let ended = admitted(&mut gate, "a", 150, disguise);
        let (before, after) = (open.request.blocks, ended.request.blocks);
        assert_eq!(before.len(), after.len());
        assert!(disguise.padding.is_some());
        assert!(
            before
                .iter()
                .zip(&after)
                .all(|(before, after)| before != after),
            "{before:?} {after:?}"
        );
    }
}
