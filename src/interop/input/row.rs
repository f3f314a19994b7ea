use std::io;

use crate::anonymise::{Chain, Private};
use crate::interop::blocks::Blocks;
use crate::shape::{
    BlockId, BlockSpec, Endpoint, Exchange, FinishReason, MessageShape, Method, Outcome,
    RequestParams, RequestShape, ResponseShape, Role, SessionId, TokenCount, TokenSource,
    TraceTime,
};
use crate::trace::Source;

/// The rows of a foreign trace.
pub(in crate::interop) trait Rows {
    /// The next row; `None` at the end.
    fn next_row(&mut self) -> Option<Result<Row, RowError>>;

    /// What holds for the whole file, as far as the rows read so far tell.
    fn about(&self) -> About;

    /// Blocks of which the rows show what one covers, where the format does not say it.
    fn blocks(&mut self) -> Option<&mut Blocks> {
        None
    }
}

/// What a trace's header says of where its exchanges come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::interop) struct About {
    pub(in crate::interop) source: Source,
    pub(in crate::interop) block: Option<BlockSpec>,
    /// Whether times are on the wall clock, in microseconds since 1970, so that they must be moved to begin at 0.
    pub(in crate::interop) wall_clock: bool,
    /// Only where the file is a copy of a trace of our own.
    pub(in crate::interop) epoch_unix_us: Option<u64>,
    pub(in crate::interop) sample_ppm: u32,
}

impl About {
    pub(in crate::interop) fn new(source: Source, block: Option<BlockSpec>) -> Self {
        Self {
            source,
            block,
            wall_clock: false,
            epoch_unix_us: None,
            sample_ppm: 1_000_000,
        }
    }

    pub(in crate::interop) fn on_the_wall_clock(self) -> Self {
        Self {
            wall_clock: true,
            ..self
        }
    }
}

/// One request of a foreign trace, before the gate.
pub(in crate::interop) struct Row {
    /// The line, or the row of a table, counted from 1.
    pub(in crate::interop) line: u64,
    pub(in crate::interop) exchange: Exchange,
    /// The model's name. Absent where none is told, or where it is a number already.
    pub(in crate::interop) model: Option<Private>,
    /// The prompt's hashes, where the source holds text; else its blocks have numbers already.
    pub(in crate::interop) chain: Option<Chain>,
}

impl Row {
    /// What holding it costs, in list elements (some eight bytes each).
    pub(in crate::interop) fn weight(&self) -> usize {
        BARE + self.exchange.list_elements()
    }
}

/// What an exchange without lists, and what stands beside it, weigh.
const BARE: usize = 128;

impl From<Exchange> for Row {
    fn from(exchange: Exchange) -> Self {
        Self {
            line: 0,
            exchange,
            model: None,
            chain: None,
        }
    }
}

pub(in crate::interop) enum RowError {
    Io(io::Error),
    /// The file is not of the format at all.
    Format(String),
    Bad {
        line: u64,
        reason: String,
    },
}

/// What a row of counts says of a request. What it does not say stays absent.
#[derive(Default)]
pub(in crate::interop) struct Told {
    pub(in crate::interop) at_us: u64,
    pub(in crate::interop) prompt_tokens: Option<u32>,
    pub(in crate::interop) output_tokens: Option<u32>,
    pub(in crate::interop) cached_tokens: Option<u32>,
    pub(in crate::interop) blocks: Vec<BlockId>,
    pub(in crate::interop) session: Option<SessionId>,
    pub(in crate::interop) model: Option<Private>,
    pub(in crate::interop) first_token_us: Option<u64>,
    pub(in crate::interop) end_us: Option<u64>,
    pub(in crate::interop) finish: Option<FinishReason>,
    pub(in crate::interop) outcome: Outcome,
    /// Sizes of messages, where the source holds their text; else the prompt is one message of unknown size.
    pub(in crate::interop) messages: Vec<MessageShape>,
    /// The answer came in one piece.
    pub(in crate::interop) plain: bool,
}

/// A chat. Bytes are 0 where the source does not tell them. Streamed, unless the source says otherwise.
impl From<Told> for Row {
    fn from(told: Told) -> Self {
        let usage = |count| TokenCount {
            count,
            source: TokenSource::Usage,
        };
        let mut messages = told.messages;
        if messages.is_empty() {
            messages.push(message(Role::User, 0));
        }
        let answered = matches!(
            told.outcome,
            Outcome::Completed | Outcome::ClientCancelled { .. }
        );
        let exchange = Exchange {
            session: told.session,
            outcome: told.outcome,
            request: RequestShape {
                messages,
                prompt_tokens: told.prompt_tokens.map(usage),
                blocks: told.blocks,
                params: RequestParams {
                    n: 1,
                    stream: !told.plain,
                    ..RequestParams::default()
                },
                ..RequestShape::default()
            },
            response: ResponseShape {
                status: if answered { 200 } else { 0 },
                first_token_us: told.first_token_us,
                end_us: told.end_us,
                output_tokens: told.output_tokens.map(usage),
                cached_tokens: told.cached_tokens,
                finish: told.finish,
                ..ResponseShape::default()
            },
            ..Exchange::bare(
                TraceTime::from_us(told.at_us),
                Endpoint::ChatCompletions,
                Method::Post,
            )
        };
        Self {
            model: told.model,
            ..Self::from(exchange)
        }
    }
}

/// A message of so many bytes.
pub(in crate::interop) fn message(role: Role, bytes: usize) -> MessageShape {
    MessageShape {
        role,
        bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        tokens: None,
    }
}

/// Microseconds of a number of units of `unit_us` each; `None` where it is negative, endless or no number.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be in range"
)]
pub(in crate::interop) fn microseconds(units: f64, unit_us: u32) -> Option<u64> {
    let us = (units * f64::from(unit_us)).round();
    (0.0..9e18).contains(&us).then_some(us as u64)
}
