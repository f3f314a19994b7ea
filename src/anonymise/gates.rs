use zeroize::Zeroizing;

use super::admit::Anonymiser;
use super::chain::ChainKey;
use super::conversation::ConversationKey;
use super::operator::OperatorKey;
use super::policy::{Keys, Policy};
use super::times::Times;
use super::tokenizer::PromptTokenizer;

/// Makes a recorder's gates, one for each trace file. What the files must have in common is here: the time shift, by which
/// their times still join up, and under an operator's key the gate itself, whose numbers go on from file to file.
pub struct Gates {
    policy: Policy,
    /// The last gate's key.
    key: ChainKey,
    shift_us: u64,
    /// The gate of the file before, under an operator's key.
    carried: Option<Anonymiser>,
}

impl Gates {
    /// Gates that keep what `policy` says. With `conversations`, how prompts begin is hashed, too, to recognise them; with a
    /// tokenizer prompts are cut into blocks of tokens.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn new(
        mut policy: Policy,
        operator: Option<&OperatorKey>,
        conversations: bool,
        tokenizer: Option<PromptTokenizer>,
    ) -> Result<Self, getrandom::Error> {
        let key = match operator {
            Some(operator) => operator.chain_key(conversations),
            None if conversations => ChainKey::random()?.recognising_conversations()?,
            None => ChainKey::random()?,
        }
        .cutting_tokens(tokenizer);
        policy.keys = match operator {
            Some(_) => Keys::Operator,
            None => Keys::PerFile,
        };
        let shift_us = Times::any_shift(&policy, *seed()?);
        Ok(Self {
            policy,
            key,
            shift_us,
            carried: None,
        })
    }

    /// Takes back the gate of a file that is done with.
    pub fn retire(&mut self, gate: Anonymiser) {
        if self.policy.keys == Keys::Operator {
            self.carried = Some(gate);
        }
    }

    /// The gate of the next file, whose table of prompt blocks takes at most `table_bytes`.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn next(&mut self, table_bytes: u64) -> Result<Anonymiser, getrandom::Error> {
        if let Some(mut gate) = self.carried.take() {
            gate.begin_file();
            return Ok(gate);
        }
        if self.policy.keys == Keys::PerFile {
            self.key = self.key.next()?;
        }
        Ok(Anonymiser::of_recorder(
            self.policy.clone(),
            self.key.clone(),
            table_bytes,
            self.shift_us,
            *seed()?,
        ))
    }
}

impl ConversationKey {
    /// The operator's where there is one, else a fresh random one.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn of(operator: Option<&OperatorKey>) -> Result<Self, getrandom::Error> {
        match operator {
            Some(operator) => Ok(operator.conversation_key()),
            None => Self::random(),
        }
    }
}

fn seed() -> Result<Zeroizing<[u8; 32]>, getrandom::Error> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed)?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anonymise::{PromptRender, Sighting};
    use crate::shape::{Endpoint, Exchange, Method, Role, TraceTime};

    fn admitted(gate: &mut Anonymiser, text: &str) -> Exchange {
        let mut render = PromptRender::new(gate.key());
        render.message(Role::User);
        render.text(text.as_bytes());
        let prompt = render.finish();
        let mut exchange = Exchange::bare(
            TraceTime::from_us(7),
            Endpoint::ChatCompletions,
            Method::Post,
        );
        exchange.request.messages = prompt.messages;
        gate.admit(Sighting {
            chain: prompt.chain,
            ..Sighting::of(exchange)
        })
        .into_exchange()
    }

    #[test]
    fn all_files_of_a_recorder_have_one_shift_and_two_recorders_hardly_the_same() {
        let policy = Policy {
            time_shift_us: 1 << 40,
            ..Policy::default()
        };
        let mut gates = Gates::new(policy.clone(), None, false, None).unwrap();
        let mut at = || admitted(&mut gates.next(1 << 20).unwrap(), "a").at;
        let first = at();
        assert_eq!(at(), first);
        let mut others = Gates::new(policy, None, false, None).unwrap();
        assert_ne!(admitted(&mut others.next(1 << 20).unwrap(), "a").at, first);
    }

    #[test]
    fn numbers_go_on_in_the_next_file_under_an_operators_key_and_only_then() {
        let key = OperatorKey::from_hex(&[b'7'; 64]);
        for (operator, expected) in [(key.as_ref(), 1), (None, 0)] {
            let mut gates = Gates::new(Policy::default(), operator, false, None).unwrap();
            let mut first = gates.next(1 << 20).unwrap();
            admitted(&mut first, &"a".repeat(64));
            gates.retire(first);
            let mut second = gates.next(1 << 20).unwrap();
            let other = admitted(&mut second, &"b".repeat(64));
            assert_eq!(other.request.blocks[0].0, expected);
            let same = admitted(&mut second, &"a".repeat(64));
            assert_eq!(same.request.blocks[0].0, 1 - expected);
        }
    }

    #[test]
    fn rounded_lengths_and_the_chain_agree() {
        for (length, expected) in [(1, 1), (100, 2), (1000, 16), (20_000, 312)] {
            let policy = Policy {
                lengths: "64".parse().unwrap(),
                ..Policy::default()
            };
            let mut gate = Gates::new(policy, None, false, None)
                .unwrap()
                .next(1 << 20)
                .unwrap();
            let request = admitted(&mut gate, &"x".repeat(length)).request;
            assert_eq!(request.rendered_bytes() / 64, request.blocks.len() as u64);
            assert!(
                request.blocks.len().abs_diff(expected) <= 4,
                "{length}: {}",
                request.blocks.len()
            );
        }
    }
}
