use super::Conversation;
use super::chain::{BlockTable, Chain, ChainKey};
use super::estimate::Estimator;
use super::names::{KeptName, ModelTable, Policy, Private};
use super::sessions::{Asked, SessionTable, Turns};
use crate::shape::{BlockId, Exchange, ModelId, Outcome, SessionId};

/// One exchange as the recorder saw it: the shape, and beside it what must pass the gate first.
pub struct Sighting {
    /// The shape, with `model` and `request.blocks` still empty.
    pub exchange: Exchange,
    /// The model's name, as the client wrote it.
    pub model: Option<Private>,
    /// The prompt's keyed block hashes.
    pub chain: Chain,
    /// The session that the client says it belongs to.
    pub named: Option<Conversation>,
    /// Which prompts this one may go on from.
    pub turns: Turns,
    /// Tokens of the prompt by the local tokenizer.
    pub prompt_tokens: Option<u32>,
    /// Bytes of the answer's text, 0 where unknown.
    pub answer_bytes: u64,
}

impl Sighting {
    /// An exchange of which nothing but its shape is known.
    pub fn of(exchange: Exchange) -> Self {
        Self {
            exchange,
            model: None,
            chain: Chain::default(),
            named: None,
            turns: Turns::default(),
            prompt_tokens: None,
            answer_bytes: 0,
        }
    }
}

/// An exchange that may be written to disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recordable {
    exchange: Exchange,
    name: Option<(ModelId, KeptName)>,
}

impl Recordable {
    /// For exchanges that held no content from the start: rows of a public trace, copies of another trace.
    pub fn content_free(exchange: Exchange) -> Self {
        Self {
            exchange,
            name: None,
        }
    }

    /// The exchange.
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// The exchange, taken out.
    pub fn into_exchange(self) -> Exchange {
        self.exchange
    }

    /// A model's name, where this exchange is the first of its model and the policy keeps the name.
    pub fn name(&self) -> Option<(ModelId, &str)> {
        self.name.as_ref().map(|(id, name)| (*id, name.as_str()))
    }
}

/// The gate: one for each trace file, so that numbers and pseudonyms cannot be linked across files.
pub struct Anonymiser {
    key: ChainKey,
    blocks: BlockTable,
    sessions: SessionTable,
    estimator: Estimator,
    models: ModelTable,
}

impl Anonymiser {
    /// A gate with a fresh random key, whose tables of prompt blocks and of sessions take at most `table_bytes`.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn new(policy: Policy, table_bytes: u64) -> Result<Self, getrandom::Error> {
        Ok(Self::within(policy, ChainKey::random()?, table_bytes))
    }

    /// A gate with a given key and room for its tables.
    pub fn within(policy: Policy, key: ChainKey, table_bytes: u64) -> Self {
        Self {
            key,
            // A session has a turn of many blocks.
            blocks: BlockTable::within(table_bytes / 8 * 7),
            sessions: SessionTable::within(table_bytes / 8),
            estimator: Estimator::default(),
            models: ModelTable::new(policy),
        }
    }

    /// A gate with a given key.
    pub fn with_key(policy: Policy, key: ChainKey) -> Self {
        Self::within(policy, key, DEFAULT_TABLE_BYTES)
    }

    /// The key that this gate's prompts must be rendered with.
    pub fn key(&self) -> &ChainKey {
        &self.key
    }

    /// Lets an exchange through: hashes become numbers, names pseudonyms.
    pub fn admit(&mut self, sighting: Sighting) -> Recordable {
        let session = self.sessions.session(&asked(&sighting));
        self.pass(sighting, session)
    }

    /// Lets an exchange through that is still in flight, and will be admitted when it has ended.
    pub fn announce(&mut self, sighting: Sighting) -> Recordable {
        let session = self.sessions.known(&asked(&sighting));
        self.pass(sighting, session)
    }

    fn pass(&mut self, sighting: Sighting, session: Option<SessionId>) -> Recordable {
        let Sighting {
            mut exchange,
            model,
            chain,
            prompt_tokens,
            answer_bytes,
            ..
        } = sighting;
        exchange.request.blocks = self.number(&chain);
        exchange.session = exchange.session.or(session);
        let name = self.name(&mut exchange, model);
        self.estimator
            .complete(&mut exchange, prompt_tokens, answer_bytes);
        Recordable { exchange, name }
    }

    /// Lets an exchange through whose blocks, and whose model where it has no name, are numbers of its source already.
    pub fn admit_numbered(&mut self, mut exchange: Exchange, model: Option<Private>) -> Recordable {
        let name = self.name(&mut exchange, model);
        Recordable { exchange, name }
    }

    /// Gives an exchange its model's pseudonym. Returns the name where it is new and kept.
    fn name(
        &mut self,
        exchange: &mut Exchange,
        model: Option<Private>,
    ) -> Option<(ModelId, KeptName)> {
        let (id, kept) = self.models.pseudonym(model?);
        exchange.model = Some(id);
        kept.map(|kept| (id, kept))
    }

    pub(super) fn number(&mut self, chain: &Chain) -> Vec<BlockId> {
        self.blocks.number(chain)
    }
}

fn asked(sighting: &Sighting) -> Asked<'_> {
    Asked {
        named: sighting.named,
        turns: &sighting.turns,
        messages: &sighting.exchange.request.messages,
        answered: sighting.exchange.outcome == Outcome::Completed,
        answer_bytes: sighting.answer_bytes,
    }
}

/// The table's bound where nobody gives one.
const DEFAULT_TABLE_BYTES: u64 = 64 << 20;
