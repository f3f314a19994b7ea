use super::Conversation;
use super::chain::{BlockTable, Chain, ChainKey};
use super::disguise::{Disguise, Padding};
use super::estimate::{Estimator, Measured};
use super::lengths::{Lengths, full_blocks};
use super::names::{KeptName, ModelTable, Private};
use super::policy::Policy;
use super::sessions::{Asked, SessionTable, Turns};
use super::times::Times;
use crate::shape::{BlockId, BlockSpec, Exchange, ModelId, Outcome, SessionId};

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
    /// Tokens of the answer by the local tokenizer, where no server counted them.
    pub answer_tokens: Option<u32>,
    /// Bytes of the answer's text, 0 where unknown.
    pub answer_bytes: u64,
    /// What the server calls the answer, where a later request may go on from it by that name.
    pub answer_name: Option<Private>,
    /// What it was announced as, where it was.
    pub disguise: Disguise,
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
            answer_tokens: None,
            answer_bytes: 0,
            answer_name: None,
            disguise: Disguise::default(),
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

/// The gate: one for each trace file, so that numbers and pseudonyms cannot be linked across files (under an operator's key one
/// for all files of a run, so that they can).
pub struct Anonymiser {
    key: ChainKey,
    blocks: BlockTable,
    sessions: SessionTable,
    estimator: Estimator,
    models: ModelTable,
    lengths: Lengths,
    times: Times,
    /// By which what was made up in these numbers is told from what was made up in another gate's.
    id: u64,
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
        let shift_us = Times::any_shift(&policy, key.derive(b"time shift"));
        let seed = key.derive(b"noise");
        Self::of_recorder(policy, key, table_bytes, shift_us, seed)
    }

    /// One of a recorder's gates: all have the same time shift, and each a seed of its own for what else is random.
    pub(super) fn of_recorder(
        policy: Policy,
        key: ChainKey,
        table_bytes: u64,
        shift_us: u64,
        seed: [u8; 32],
    ) -> Self {
        let mut times = Times::new(&policy, shift_us, seed);
        Self {
            id: times.any(),
            // A session has a turn of many blocks.
            blocks: BlockTable::within(table_bytes / 8 * 7),
            sessions: SessionTable::within(table_bytes / 8),
            estimator: Estimator::default(),
            lengths: policy.lengths,
            times,
            models: ModelTable::new(policy, &key),
            key,
        }
    }

    /// A gate with a given key.
    pub fn with_key(policy: Policy, key: ChainKey) -> Self {
        Self::within(policy, key, DEFAULT_TABLE_BYTES)
    }

    /// Goes on with the next file under the same numbers.
    pub(crate) fn begin_file(&mut self) {
        self.models.begin_file();
    }

    /// The key that this gate's prompts must be rendered with.
    pub fn key(&self) -> &ChainKey {
        &self.key
    }

    /// Lets an exchange through: hashes become numbers, names pseudonyms, lengths and arrivals as exact as the policy says.
    pub fn admit(&mut self, sighting: Sighting) -> Recordable {
        let session = self.sessions.session(&asked(&sighting, &self.key));
        self.pass(sighting, session, true).0
    }

    /// Lets an exchange through that is still in flight. When it has ended it is to be admitted, or announced to the next file,
    /// with the disguise that comes of this.
    pub fn announce(&mut self, sighting: Sighting) -> (Recordable, Disguise) {
        let session = self.sessions.known(&asked(&sighting, &self.key));
        self.pass(sighting, session, false)
    }

    fn pass(
        &mut self,
        sighting: Sighting,
        session: Option<SessionId>,
        has_ended: bool,
    ) -> (Recordable, Disguise) {
        let Sighting {
            mut exchange,
            model,
            chain,
            prompt_tokens,
            answer_tokens,
            answer_bytes,
            mut disguise,
            ..
        } = sighting;
        let name = self.name(&mut exchange, model, has_ended);
        // By model, and before lengths are rounded.
        let measured = Measured {
            prompt_tokens,
            answer_tokens,
            answer_bytes,
        };
        self.estimator.complete(&mut exchange, measured);
        let spec = match self.key.tokenizer() {
            Some(_) => BlockSpec::TOKENS,
            None => BlockSpec::LIVE,
        };
        let blocks = full_blocks(spec, &exchange.request);
        self.lengths.coarsen(&mut exchange);
        let coarse = full_blocks(spec, &exchange.request);
        exchange.request.blocks = self.number(&chain);
        exchange.session = exchange.session.or(session);
        let len = Lengths::chain_len(blocks, exchange.request.blocks.len(), coarse);
        if exchange.endpoint.is_inference() {
            disguise.padding = self.fit(&mut exchange.request.blocks, len, disguise.padding);
        }
        self.times.blur(&mut exchange, &mut disguise.jitter_us);
        (Recordable { exchange, name }, disguise)
    }

    /// Lets an exchange through whose blocks, and whose model where it has no name, are numbers of its source already.
    pub fn admit_numbered(&mut self, mut exchange: Exchange, model: Option<Private>) -> Recordable {
        let name = self.name(&mut exchange, model, true);
        Recordable { exchange, name }
    }

    /// Gives an exchange its model's pseudonym. Returns the name where the policy keeps it from now on.
    fn name(
        &mut self,
        exchange: &mut Exchange,
        model: Option<Private>,
        has_ended: bool,
    ) -> Option<(ModelId, KeptName)> {
        let (id, kept) = self.models.pseudonym(&model?, has_ended);
        exchange.model = Some(id);
        kept.map(|kept| (id, kept))
    }

    /// Makes a chain as long as the rounded lengths say, within reason. Blocks that are added are like no others, as most last ones
    /// are; where the exchange had some `before`, they are the same. Returns which they are now.
    fn fit(
        &mut self,
        ids: &mut Vec<BlockId>,
        len: usize,
        before: Option<Padding>,
    ) -> Option<Padding> {
        let (true_len, after) = (ids.len(), ids.last().copied());
        let before = before.and_then(|it| Some((it, it.again(self.id, after)?)));
        let (before, mut again) = before.map_or((None, 0..0), |(it, again)| (Some(it), again));
        ids.truncate(len);
        let len = len.min(ids.len().saturating_add(MOST_ADDED));
        while ids.len() < len {
            match again.next().map(BlockId).or_else(|| self.blocks.fresh()) {
                Some(id) => ids.push(id),
                None => break,
            }
        }
        // What a longer chain has beyond the padding before begins where that ended, which is as rounded as its end.
        before.or_else(|| {
            let made_up = ids.get(true_len..)?;
            Some(Padding {
                gate: self.id,
                after,
                first: *made_up.first()?,
                blocks: u32::try_from(made_up.len()).ok()?,
            })
        })
    }

    pub(super) fn number(&mut self, chain: &Chain) -> Vec<BlockId> {
        self.blocks.number(chain)
    }
}

/// Blocks that a chain is lengthened by at most: thousands of tiny messages, each rounded up, would ask for millions.
const MOST_ADDED: usize = 1 << 14;

fn asked<'a>(sighting: &'a Sighting, key: &ChainKey) -> Asked<'a> {
    Asked {
        named: sighting.named,
        turns: &sighting.turns,
        messages: &sighting.exchange.request.messages,
        answered: sighting.exchange.outcome == Outcome::Completed,
        answer_bytes: sighting.answer_bytes,
        answer: sighting.answer_name.as_ref().map(|name| name.digest(key)),
    }
}

/// The table's bound where nobody gives one.
const DEFAULT_TABLE_BYTES: u64 = 64 << 20;
