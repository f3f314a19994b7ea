//! Learns how a target counts before the replay begins: a short phase of probes, one at a time, marked as such.

mod error;
mod prober;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::dialect::OutputLength;
use crate::shape::{Endpoint, Role, ToolsShape};

use super::prompt::TokenCosts;
use super::survey::EndpointNeeds;
use super::target::Target;
pub use error::{Problem, TargetError};
use prober::{Answer, Prober, Question};

/// What the probes found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// The model that is asked for.
    pub model: String,
    /// The target is a simulated server, and says so.
    pub simulated: bool,
    /// Each endpoint of the plan.
    pub endpoints: BTreeMap<Endpoint, EndpointCalibration>,
    /// Probes sent.
    pub probes: u32,
    /// Time to open a connection, the first one.
    pub connect_us: u64,
    #[serde(skip)]
    assumed: EndpointCalibration,
}

/// What the probes found at one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EndpointCalibration {
    /// What it counts beside words.
    pub costs: TokenCosts,
    /// Answers can be forced to a length.
    pub exact_length: bool,
}

/// How to calibrate.
#[derive(Debug, Clone, Copy)]
pub struct CalibrateOptions {
    /// A connection takes at most this long.
    pub connect_timeout: Duration,
    /// A probe that brings nothing for so long has failed.
    pub probe_timeout: Duration,
    /// Sets the probes' words apart from those of other runs.
    pub seed: u64,
}

impl Default for CalibrateOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(60),
            seed: 0,
        }
    }
}

impl Calibration {
    /// A calibration that assumes instead of asking: every word one token, nothing around them, lengths forced.
    pub fn assumed(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            simulated: false,
            endpoints: BTreeMap::new(),
            probes: 0,
            connect_us: 1000,
            assumed: EndpointCalibration {
                costs: TokenCosts::default(),
                exact_length: true,
            },
        }
    }

    /// What is known of an endpoint.
    pub fn of(&self, endpoint: Endpoint) -> &EndpointCalibration {
        self.endpoints.get(&endpoint).unwrap_or(&self.assumed)
    }
}

/// Words in the probes' prompts.
const SHORT: u64 = 1;
const MIDDLE: u64 = 33;
const LONG: u64 = 257;
/// Tokens that the probe for forced lengths asks for.
const FORCED: u32 = 8;

/// Asks the target what the plan's endpoints need to know. Blocks; takes some seven requests of one token for each endpoint, and
/// one for each shape of tools.
///
/// # Errors
/// When the target cannot be reached, does not speak HTTP, does not answer or refuses the first probe of an endpoint.
pub fn calibrate(
    target: &Target,
    needs: &BTreeMap<Endpoint, EndpointNeeds>,
    options: &CalibrateOptions,
) -> Result<Calibration, TargetError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| TargetError::new(target, Problem::Runtime(error)))?;
    runtime.block_on(async {
        let mut prober = Prober::new(target, options).await?;
        let model = match &target.model {
            Some(model) => model.clone(),
            None => prober.first_model().await?,
        };
        prober.model.clone_from(&model);
        let mut endpoints = BTreeMap::new();
        for (&endpoint, needs) in needs {
            endpoints.insert(endpoint, endpoint_of(&mut prober, endpoint, needs).await?);
        }
        Ok(Calibration {
            model,
            simulated: prober.simulated,
            endpoints,
            probes: prober.sent,
            connect_us: prober.connect_us,
            assumed: EndpointCalibration::default(),
        })
    })
}

async fn endpoint_of(
    prober: &mut Prober<'_>,
    endpoint: Endpoint,
    needs: &EndpointNeeds,
) -> Result<EndpointCalibration, TargetError> {
    let ask = |messages: &[(Role, u64)]| Question {
        endpoint,
        messages: messages.to_vec(),
        tools: ToolsShape::default(),
        output: OutputLength::Cap(1),
    };
    // The first probe must work; what the target makes of the others is something learned.
    let short = prober.must(&ask(&[(Role::User, SHORT)])).await?;
    let middle = prober.may(&ask(&[(Role::User, MIDDLE)])).await?;
    let long = prober.may(&ask(&[(Role::User, LONG)])).await?;
    let third = MIDDLE / 3;
    let three = [
        (Role::User, third),
        (Role::Assistant, third),
        (Role::User, third),
    ];
    let three = prober.may(&ask(&three)).await?;
    let system = if endpoint.has_roles() {
        let system = [(Role::System, third), (Role::User, 2 * third)];
        prober.may(&ask(&system)).await?
    } else {
        Answer::default()
    };
    let forced = if endpoint.generates() {
        let forced = Question {
            output: OutputLength::Exact(FORCED),
            ..ask(&[(Role::User, SHORT)])
        };
        prober.may(&forced).await?
    } else {
        Answer::default()
    };
    let mut costs = fit(&Counts {
        short: short.prompt_tokens,
        middle: middle.prompt_tokens,
        long: long.prompt_tokens,
        three: three.prompt_tokens,
        system: system.prompt_tokens,
    });
    for &tools in &needs.tools {
        let question = Question {
            tools,
            ..ask(&[(Role::User, MIDDLE)])
        };
        let answer = prober.may(&question).await?;
        if let (Some(with), Some(without)) = (answer.prompt_tokens, middle.prompt_tokens) {
            costs
                .tools
                .push((tools, i64::from(with) - i64::from(without)));
        }
    }
    Ok(EndpointCalibration {
        costs,
        exact_length: forced.output_tokens == Some(FORCED),
    })
}

/// The target's counts of the probes' prompts.
struct Counts {
    short: Option<u32>,
    middle: Option<u32>,
    long: Option<u32>,
    three: Option<u32>,
    system: Option<u32>,
}

/// Tokens per word beyond these bounds are no count of words.
const SANE_PER_WORD: std::ops::RangeInclusive<f64> = 0.5..=8.0;

#[allow(clippy::cast_possible_truncation, reason = "rounded token counts")]
fn fit(counts: &Counts) -> TokenCosts {
    let (Some(middle), Some(long)) = (counts.middle.map(f64::from), counts.long.map(f64::from))
    else {
        // Without a slope, one word is taken for one token.
        return counts
            .short
            .map_or_else(TokenCosts::default, |short| TokenCosts {
                fixed: i64::from(short) - 1,
                measured: true,
                ..TokenCosts::default()
            });
    };
    let per_word = (long - middle) / f64::from(u32::try_from(LONG - MIDDLE).unwrap_or(1));
    if !SANE_PER_WORD.contains(&per_word) {
        return TokenCosts::default();
    }
    let around = (middle - per_word * 33.0).round() as i64;
    let more = |count: Option<u32>| count.map(|count| (f64::from(count) - middle).round() as i64);
    let per_message = more(counts.three).map_or(0, |more| (more as f64 / 2.0).round() as i64);
    let system = more(counts.system).map_or(0, |more| more - per_message);
    TokenCosts {
        fixed: around - per_message,
        per_message,
        system,
        per_word,
        tools: Vec::new(),
        measured: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_off_the_counts() {
        let costs = fit(&Counts {
            short: Some(8),
            middle: Some(40),
            long: Some(264),
            three: Some(48),
            system: Some(34),
        });
        let expected = TokenCosts {
            fixed: 3,
            per_message: 4,
            system: -10,
            per_word: 1.0,
            tools: vec![],
            measured: true,
        };
        assert_eq!(costs, expected);
    }

    #[test]
    fn a_target_that_does_not_tell_is_assumed_to_count_words() {
        let nothing = Counts {
            short: None,
            middle: None,
            long: None,
            three: None,
            system: None,
        };
        assert_eq!(fit(&nothing), TokenCosts::default());
        assert!(!fit(&nothing).measured);
        let nonsense = Counts {
            middle: Some(5),
            long: Some(5),
            ..nothing
        };
        assert!(!fit(&nonsense).measured);
    }
}
