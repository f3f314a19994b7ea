//! Learns how a target counts before the replay begins: a short phase of probes, one at a time, marked as such.

mod endpoint;
mod error;
mod fit;
mod prober;
mod ready;
mod remarks;
mod vocabulary;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::dialect::Forcing;
use crate::shape::Endpoint;

use super::progress::Stop;
use super::prompt::{IdTable, PromptOptions, TokenCosts, Words};
use super::survey::EndpointNeeds;
use super::target::Target;
pub(super) use endpoint::streaming;
pub use error::{Problem, TargetError};
use prober::Prober;
use ready::Patience;
pub use vocabulary::{Vocabulary, VocabularySource};

/// What the probes found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// The model that is asked for.
    pub model: String,
    /// The target is a simulated server, and says so.
    pub simulated: bool,
    /// Each endpoint of the plan.
    pub endpoints: BTreeMap<Endpoint, EndpointCalibration>,
    /// What became of the words.
    pub vocabulary: Vocabulary,
    /// Probes sent.
    pub probes: u32,
    /// Time to open a connection, the first one.
    pub connect_us: u64,
    /// What prompts are made of here.
    #[serde(skip)]
    pub(super) words: Arc<Words>,
    /// Ids of the words, where prompts go out so.
    #[serde(skip)]
    pub(super) ids: Arc<IdTable>,
    #[serde(skip)]
    assumed: EndpointCalibration,
}

/// What the probes found at one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EndpointCalibration {
    /// Where its requests go, if not there: the target lacks it, or the user said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_as: Option<Endpoint>,
    /// What it counts beside words.
    pub costs: TokenCosts,
    /// The same for prompts of token ids; `None` where it does not take them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_costs: Option<TokenCosts>,
    /// By what answers are forced to a length.
    pub forced: Forced,
    /// A capped answer to the same prompt ended by itself sooner: what forces it is shown to. Otherwise it may only be wordy.
    pub forced_shown: bool,
}

/// By what a target's answers are forced to a length.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forced {
    /// By nothing: they are capped.
    #[default]
    No,
    /// `min_tokens` and `ignore_eos`.
    Both,
    /// `min_tokens`.
    MinTokens,
    /// `ignore_eos`.
    IgnoreEos,
    /// `logit_bias` against the tokens that end an answer.
    LogitBias(Vec<u32>),
}

impl Forced {
    pub(super) fn by(&self) -> Forcing<'_> {
        match self {
            Self::No => Forcing::None,
            Self::Both => Forcing::Both,
            Self::MinTokens => Forcing::MinTokens,
            Self::IgnoreEos => Forcing::IgnoreEos,
            Self::LogitBias(ids) => Forcing::LogitBias(ids),
        }
    }
}

impl EndpointCalibration {
    /// Whether answers can be forced to a length.
    pub fn is_exact(&self) -> bool {
        self.forced != Forced::No
    }

    /// Where a request goes that was recorded at `endpoint`.
    pub(super) fn endpoint(&self, recorded: Endpoint, stream: bool) -> Endpoint {
        self.send_as
            .map_or(recorded, |endpoint| endpoint::streaming(endpoint, stream))
    }
}

/// How to calibrate.
#[derive(Debug, Clone)]
pub struct CalibrateOptions {
    /// A connection takes at most this long.
    pub connect_timeout: Duration,
    /// A probe that brings nothing for so long has failed.
    pub probe_timeout: Duration,
    /// A target that is not there yet, or is busy (429, 503), is asked again for so long.
    pub ready_timeout: Duration,
    /// Sets the probes' words apart from those of other runs.
    pub seed: u64,
    /// What prompts are made of, and where they go.
    pub prompts: PromptOptions,
}

impl Default for CalibrateOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(60),
            ready_timeout: Duration::ZERO,
            seed: 0,
            prompts: PromptOptions::default(),
        }
    }
}

impl Calibration {
    /// A calibration that assumes instead of asking: every word one token, nothing around them, lengths forced.
    pub fn assumed(model: impl Into<String>) -> Self {
        let words = Words::house();
        Self {
            model: model.into(),
            simulated: false,
            endpoints: BTreeMap::new(),
            vocabulary: Vocabulary::default(),
            probes: 0,
            connect_us: 1000,
            ids: Arc::new(IdTable::new(&words, None)),
            words,
            assumed: EndpointCalibration {
                forced: Forced::Both,
                ..EndpointCalibration::default()
            },
        }
    }

    /// The most tokens that a target's own template puts around a system message and a user's, over all endpoints of the plan.
    pub fn template_tokens(&self) -> u64 {
        let known = self.endpoints.values();
        let most = known.map(|endpoint| endpoint.costs.of_template()).max();
        most.unwrap_or(0)
    }

    /// What is known of an endpoint.
    pub fn of(&self, endpoint: Endpoint) -> &EndpointCalibration {
        self.endpoints.get(&endpoint).unwrap_or(&self.assumed)
    }
}

/// Asks the target what the plan's endpoints need to know. Blocks; takes some dozen requests of one token for each endpoint, one for
/// each shape of tools and media, and a few for the words. `tell` hears once that a target is waited for that is not ready, why, and for
/// how long at most; `stop` ends the asking, whatever is waited for ([`Problem::Stopped`]).
///
/// # Errors
/// When the target cannot be reached, does not speak HTTP, does not answer or refuses the first probe of an endpoint.
pub fn calibrate(
    target: &Target,
    needs: &BTreeMap<Endpoint, EndpointNeeds>,
    options: &CalibrateOptions,
    stop: &Stop,
    tell: &dyn Fn(&TargetError, Duration),
) -> Result<Calibration, TargetError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| TargetError::new(target, Problem::Runtime(error)))?;
    let asking = async {
        let mut prober = Prober::new(
            target,
            options,
            Patience::new(options.ready_timeout, stop, tell),
        )
        .await?;
        let model = match &target.model {
            Some(model) => model.clone(),
            None => prober.first_model().await?,
        };
        prober.model.clone_from(&model);
        let mut places = BTreeMap::new();
        for &endpoint in needs.keys() {
            let place = endpoint::find(&mut prober, endpoint, options.prompts.send_as).await?;
            places.insert(endpoint, place);
        }
        // The vocabulary is the model's, so one endpoint tells for all.
        let first = places.iter().next();
        let vocabulary = match first {
            Some((&recorded, place)) => {
                vocabulary::check(&mut prober, recorded, place.endpoint, &options.prompts).await?
            }
            None => Vocabulary::default(),
        };
        let mut endpoints = BTreeMap::new();
        for (&endpoint, needs) in needs {
            let Some(place) = places.get(&endpoint) else {
                continue;
            };
            let found = endpoint::calibrate(&mut prober, endpoint, place, needs, options).await?;
            endpoints.insert(endpoint, found);
        }
        let words = Arc::clone(&prober.words);
        let ids = IdTable::new(&words, options.prompts.tokenizer.as_ref());
        Ok(Calibration {
            model,
            simulated: prober.simulated,
            endpoints,
            vocabulary,
            probes: prober.sent,
            connect_us: prober.connect_us,
            ids: Arc::new(ids),
            words,
            assumed: EndpointCalibration::default(),
        })
    };
    runtime.block_on(async {
        tokio::select! {
            biased;
            found = asking => found,
            () = stop.requested() => Err(TargetError::new(target, Problem::Stopped)),
        }
    })
}
