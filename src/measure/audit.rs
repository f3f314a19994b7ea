//! What in a trace could identify someone: rare values, unique shapes, what can be linked. One pass, in bounded memory.
//!
//! * A **field** is one number of an exchange. Its entropy says how much a single value tells on average; a value that only one
//!   exchange has singles that exchange out for whoever knows it.
//! * A **request shape** is what somebody who saw a request from afar would know of it, its length to about an eighth: endpoint,
//!   model, length of the prompt, messages, tools, media, tensors, streaming. *k* is the size of the smallest class of exchanges with
//!   the same one (Sweeney, "k-anonymity: a model for protecting privacy").
//! * An **exact shape** is what a bill or an access log would know: endpoint, model, prompt and output tokens, request bytes.
//!
//! Memory: each tally holds so many values (`FIELD_VALUES`, `CLASSES`), together at most about 128 MiB. What comes after a
//! full one counts as seen once, so the audit can only err towards more risk, and says that it did.

mod fields;
mod links;
mod tally;
mod typical;

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use serde::Serialize;

pub use fields::FieldAudit;
pub use links::Links;
pub use typical::Typical;

use fields::FieldMeter;
use links::LinkMeter;
use tally::Tally;
use typical::TypicalMeter;

use crate::anonymise::Lengths;
use crate::shape::Exchange;

/// Values that each field's tally tells apart.
pub const FIELD_VALUES: usize = 1 << 16;
/// Classes that each of the two shape tallies tells apart.
pub const CLASSES: usize = 1 << 19;

/// What is asked of a trace; what is absent is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bar {
    /// Every request shape must be that of at least so many exchanges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_k: Option<u64>,
    /// At most this share of exchanges may have an exact shape of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unique: Option<f64>,
    /// No field may have more entropy than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_entropy_bits: Option<f64>,
}

/// The audit of a trace.
#[derive(Debug, Clone, Serialize)]
pub struct Audit {
    /// Exchanges read.
    pub exchanges: u64,
    /// Each field that is there, the most telling first.
    pub fields: Vec<FieldAudit>,
    /// Classes of exchanges that look alike from afar.
    pub request_shapes: Classes,
    /// Classes of exchanges that look alike on a bill.
    pub exact_shapes: Classes,
    /// What belongs together.
    pub links: Links,
    /// What is usual.
    pub typical: Typical,
    /// What was asked.
    pub bar: Bar,
    /// What was asked and is not so.
    pub missed: Vec<String>,
}

/// How exchanges fall into classes that look alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Classes {
    /// Classes.
    pub classes: u64,
    /// Exchanges in the smallest.
    pub smallest: u64,
    /// Exchanges that are alone in theirs.
    pub unique: u64,
    /// The share that they are of all.
    pub unique_share: f64,
    /// The share of exchanges in classes of fewer than [`FEW`].
    pub few_share: f64,
    /// Bits that the class of an exchange tells.
    pub entropy_bits: f64,
    /// Whether all classes could be told apart; else the figures err towards more risk.
    pub complete: bool,
}

/// A class of fewer exchanges is a small one.
pub const FEW: u32 = 10;

/// Gathers an [`Audit`], exchange by exchange.
pub struct AuditMeter {
    exchanges: u64,
    fields: FieldMeter,
    request_shapes: Tally,
    exact_shapes: Tally,
    links: LinkMeter,
    typical: TypicalMeter,
}

impl Default for AuditMeter {
    fn default() -> Self {
        Self {
            exchanges: 0,
            fields: FieldMeter::default(),
            request_shapes: Tally::of(CLASSES),
            exact_shapes: Tally::of(CLASSES),
            links: LinkMeter::default(),
            typical: TypicalMeter::default(),
        }
    }
}

impl AuditMeter {
    /// Takes the next exchange, in order of arrival.
    pub fn add(&mut self, exchange: &Exchange) {
        self.exchanges += 1;
        self.fields.add(exchange);
        self.links.add(exchange);
        self.typical.add(exchange);
        let request = &exchange.request;
        let prompt_tokens = request.prompt_tokens.map(|tokens| tokens.count);
        let length = match prompt_tokens {
            Some(tokens) => Lengths::Log.tokens(tokens.into()),
            None => Lengths::Log.bytes(request.bytes),
        };
        let mut tensors = request.tensors.clone();
        Lengths::Log.round_tensors(&mut tensors);
        let afar = (
            exchange.endpoint,
            exchange.model,
            length,
            request.messages.len(),
            request.tools.count,
            request.media.len(),
            tensors,
            request.params.stream,
        );
        self.request_shapes.add(HASHER.hash_one(afar));
        let billed = (
            exchange.endpoint,
            exchange.model,
            prompt_tokens,
            exchange.response.output_tokens.map(|tokens| tokens.count),
            request.bytes,
        );
        self.exact_shapes.add(HASHER.hash_one(billed));
    }

    /// The audit, held against a bar.
    pub fn finish(self, bar: Bar) -> Audit {
        let mut audit = Audit {
            exchanges: self.exchanges,
            fields: self.fields.finish(),
            request_shapes: Classes::of(&self.request_shapes),
            exact_shapes: Classes::of(&self.exact_shapes),
            links: self.links.finish(),
            typical: self.typical.finish(),
            bar,
            missed: Vec::new(),
        };
        audit.missed = audit.misses();
        audit
    }
}

/// Fixed keys: the same trace gives the same audit. Nobody gains from making two shapes meet.
const HASHER: BuildHasherDefault<DefaultHasher> = BuildHasherDefault::new();

impl Audit {
    fn misses(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let k = self.request_shapes.smallest;
        if let Some(least) = self.bar.min_k.filter(|&least| k < least) {
            missed.push(format!(
                "the rarest request shape is that of {k} {}, and {least} were asked for",
                if k == 1 { "exchange" } else { "exchanges" }
            ));
        }
        let unique = self.exact_shapes.unique_share;
        if let Some(most) = self.bar.max_unique.filter(|&most| unique > most) {
            missed.push(format!(
                "{:.2} % of exchanges have an exact shape of their own, and at most {:.2} % may",
                unique * 100.0,
                most * 100.0
            ));
        }
        if let Some(most) = self.bar.max_entropy_bits {
            missed.extend(
                self.fields
                    .iter()
                    .filter(|field| field.entropy_bits > most)
                    .map(|field| {
                        format!(
                            "{} tells {:.2} bits, and at most {most} may be told by one field",
                            field.name, field.entropy_bits
                        )
                    }),
            );
        }
        missed
    }
}

impl Classes {
    fn of(tally: &Tally) -> Self {
        Self {
            classes: tally.distinct(),
            smallest: tally.smallest(),
            unique: tally.unique(),
            unique_share: tally.share(tally.unique()),
            few_share: tally.share(tally.in_classes_below(FEW)),
            entropy_bits: tally.entropy_bits(),
            complete: tally.is_complete(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{
        Dimensions, Endpoint, Method, SessionId, TensorShape, TensorType, TokenCount, TokenSource,
        TraceTime,
    };

    fn of_tokens(tokens: impl IntoIterator<Item = u32>) -> AuditMeter {
        let mut meter = AuditMeter::default();
        for count in tokens {
            let mut exchange = Exchange::bare(
                TraceTime::default(),
                Endpoint::ChatCompletions,
                Method::Post,
            );
            exchange.request.prompt_tokens = Some(TokenCount {
                count,
                source: TokenSource::Usage,
            });
            meter.add(&exchange);
        }
        meter
    }

    #[test]
    fn one_long_prompt_among_many_short_ones_is_alone() {
        let tokens = (0..99).map(|_| 100).chain([100_000]);
        let bar = Bar {
            min_k: Some(2),
            max_unique: Some(0.005),
            max_entropy_bits: Some(0.01),
        };
        let audit = of_tokens(tokens).finish(bar);
        assert_eq!(audit.request_shapes.smallest, 1);
        assert_eq!(
            (audit.exact_shapes.unique, audit.exact_shapes.classes),
            (1, 2)
        );
        assert_eq!(audit.missed.len(), 3, "{:?}", audit.missed);
        let told = audit
            .fields
            .iter()
            .find(|field| field.name == "prompt tokens");
        let told = told.unwrap();
        assert_eq!((told.distinct, told.unique), (2, 1));
        assert!((told.entropy_bits - 0.0808).abs() < 0.001);
    }

    #[test]
    fn from_afar_lengths_that_are_nearly_the_same_are_alike() {
        let audit = of_tokens(1000..1032).finish(Bar {
            min_k: Some(32),
            ..Bar::default()
        });
        assert_eq!(audit.request_shapes.classes, 1);
        assert_eq!(audit.exact_shapes.unique, 32);
        assert_eq!(audit.missed, Vec::<String>::new());
    }

    #[test]
    fn tensors_of_other_sizes_are_other_shapes() {
        let mut meter = AuditMeter::default();
        for size in [100, 101, 100, 900] {
            let at = TraceTime::default();
            let mut exchange = Exchange::bare(at, Endpoint::Infer, Method::Post);
            exchange.request.tensors = vec![TensorShape {
                message: 0,
                datatype: TensorType::Fp32,
                dimensions: Dimensions::of([1, size]),
            }];
            meter.add(&exchange);
        }
        let audit = meter.finish(Bar::default());
        let shapes = &audit.request_shapes;
        assert_eq!((shapes.classes, shapes.smallest), (2, 1));
        let told = audit.fields.iter().find(|field| field.name == "tensors");
        let told = told.unwrap();
        assert_eq!((told.present, told.distinct, told.unique), (4, 3, 2));
    }

    #[test]
    fn a_session_of_one_exchange_links_nothing() {
        let mut meter = AuditMeter::default();
        for session in [1, 1, 1, 2, 3] {
            let mut exchange = Exchange::bare(
                TraceTime::default(),
                Endpoint::ChatCompletions,
                Method::Post,
            );
            exchange.session = Some(SessionId(session));
            meter.add(&exchange);
        }
        let links = meter.finish(Bar::default()).links;
        assert_eq!(
            (links.sessions, links.shared_sessions, links.in_sessions),
            (3, 1, 3)
        );
    }

    #[test]
    fn what_a_full_tally_cannot_tell_apart_counts_as_alone() {
        let mut tally = Tally::of(4);
        (0..8).for_each(|value| tally.add(value));
        (0..4).for_each(|value| tally.add(value));
        assert!(!tally.is_complete());
        assert_eq!((tally.unique(), tally.smallest()), (4, 1));
        assert!(tally.entropy_bits() > 2.9);
    }
}
