use super::chain::{BlockTable, Chain, ChainKey};
use super::names::{KeptName, ModelTable, Policy, Private};
use crate::shape::{BlockId, Exchange, ModelId};

/// One exchange as the recorder saw it: the shape, and beside it the two things that must pass the gate first.
pub struct Sighting {
    /// The shape, with `model` and `request.blocks` still empty.
    pub exchange: Exchange,
    /// The model's name, as the client wrote it.
    pub model: Option<Private>,
    /// The prompt's keyed block hashes.
    pub chain: Chain,
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
    models: ModelTable,
}

impl Anonymiser {
    /// A gate with a fresh random key, whose table of prompt blocks takes at most `table_bytes`.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn new(policy: Policy, table_bytes: u64) -> Result<Self, getrandom::Error> {
        Ok(Self::within(policy, ChainKey::random()?, table_bytes))
    }

    /// A gate with a given key and room for its table of blocks.
    pub fn within(policy: Policy, key: ChainKey, table_bytes: u64) -> Self {
        Self {
            key,
            blocks: BlockTable::within(table_bytes),
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
        let Sighting {
            mut exchange,
            model,
            chain,
        } = sighting;
        exchange.request.blocks = self.number(&chain);
        let mut name = None;
        if let Some(model) = model {
            let (id, kept) = self.models.pseudonym(model);
            exchange.model = Some(id);
            name = kept.map(|kept| (id, kept));
        }
        Recordable { exchange, name }
    }

    pub(super) fn number(&mut self, chain: &Chain) -> Vec<BlockId> {
        self.blocks.number(chain)
    }
}

/// The table's bound where nobody gives one.
const DEFAULT_TABLE_BYTES: u64 = 64 << 20;
