//! What one endpoint takes, and how it counts.

use super::error::{Problem, TargetError};
use super::fit::{self, Counts, EACH, MESSAGES, WORDS, fit};
use super::prober::{Answer, Prober, Question};
use super::{CalibrateOptions, EndpointCalibration, Forced};
use crate::anonymise::PromptTokenizer;
use crate::dialect::OutputLength;
use crate::replay::prompt::{PromptAs, TokenCosts};
use crate::replay::survey::EndpointNeeds;
use crate::shape::{Endpoint, Role};

/// Tokens that the probes for forced lengths ask for.
const FORCED: u32 = 64;

/// Where the requests of a recorded endpoint go, and the target's count of one word there.
pub(super) struct Place {
    pub(super) endpoint: Endpoint,
    one_word: Answer,
}

/// Asks the recorded endpoint for one token, or what the user said; where the target lacks the recorded one, those of its kind.
pub(super) async fn find(
    prober: &mut Prober<'_>,
    recorded: Endpoint,
    send_as: Option<Endpoint>,
) -> Result<Place, TargetError> {
    let endpoint = send_as
        .filter(|to| to.generates() == recorded.generates())
        .unwrap_or(recorded);
    let wanted = streaming(endpoint, is_stream(recorded));
    let first = match ask(prober, recorded, wanted).await {
        Ok(place) => return Ok(place),
        Err(error) => error,
    };
    let is_lacking = matches!(
        first.problem,
        Problem::Refused {
            status: 404 | 405 | 501,
            ..
        }
    );
    if is_lacking && send_as.is_none() {
        for other in of_its_kind(recorded) {
            let other = streaming(other, is_stream(recorded));
            if let Ok(place) = ask(prober, recorded, other).await {
                return Ok(place);
            }
        }
    }
    Err(first)
}

async fn ask(
    prober: &mut Prober<'_>,
    recorded: Endpoint,
    endpoint: Endpoint,
) -> Result<Place, TargetError> {
    let question = Question::new(recorded, endpoint, &[(Role::User, WORDS[0])]);
    let one_word = prober.must(&question).await?;
    Ok(Place { endpoint, one_word })
}

/// Endpoints that can stand in for one, nearest first.
fn of_its_kind(recorded: Endpoint) -> Vec<Endpoint> {
    const CONVERSATIONS: [Endpoint; 6] = [
        Endpoint::ChatCompletions,
        Endpoint::Messages,
        Endpoint::Responses,
        Endpoint::OllamaChat,
        Endpoint::CohereChat,
        Endpoint::GeminiGenerate,
    ];
    const TEXTS: [Endpoint; 4] = [
        Endpoint::Completions,
        Endpoint::TgiGenerate,
        Endpoint::OllamaGenerate,
        Endpoint::TritonGenerate,
    ];
    const VECTORS: [Endpoint; 2] = [Endpoint::Embeddings, Endpoint::OllamaEmbed];
    let lists: [&[Endpoint]; 2] = match recorded {
        _ if !recorded.generates() => [&VECTORS, &[]],
        _ if recorded.has_roles() => [&CONVERSATIONS, &TEXTS],
        _ => [&TEXTS, &CONVERSATIONS],
    };
    let others = lists.into_iter().flatten().copied();
    let same = streaming(recorded, false);
    others.filter(|&other| other != same).collect()
}

/// Some dialects have an endpoint of their own for streams.
pub(in crate::replay) fn streaming(endpoint: Endpoint, stream: bool) -> Endpoint {
    match (endpoint, stream) {
        (Endpoint::TgiGenerate | Endpoint::TgiGenerateStream, true) => Endpoint::TgiGenerateStream,
        (Endpoint::TgiGenerate | Endpoint::TgiGenerateStream, false) => Endpoint::TgiGenerate,
        (Endpoint::GeminiGenerate | Endpoint::GeminiStream, true) => Endpoint::GeminiStream,
        (Endpoint::GeminiGenerate | Endpoint::GeminiStream, false) => Endpoint::GeminiGenerate,
        (Endpoint::TritonGenerate | Endpoint::TritonGenerateStream, true) => {
            Endpoint::TritonGenerateStream
        }
        (Endpoint::TritonGenerate | Endpoint::TritonGenerateStream, false) => {
            Endpoint::TritonGenerate
        }
        (endpoint, _) => endpoint,
    }
}

fn is_stream(endpoint: Endpoint) -> bool {
    endpoint == streaming(endpoint, true) && endpoint != streaming(endpoint, false)
}

/// Asks what is to be known of `place`, to which the requests of `recorded` go.
pub(super) async fn calibrate(
    prober: &mut Prober<'_>,
    recorded: Endpoint,
    place: &Place,
    needs: &EndpointNeeds,
    options: &CalibrateOptions,
) -> Result<EndpointCalibration, TargetError> {
    let endpoint = place.endpoint;
    let question = |messages: &[(Role, u64)]| Question::new(recorded, endpoint, messages);
    let mut counts = Counts::default();
    counts.words[0] = place.one_word.prompt_tokens;
    for (count, words) in counts.words.iter_mut().zip(WORDS).skip(1) {
        // What the target makes of these is something learned: a long one may not fit it.
        let answer = prober.may(&question(&[(Role::User, words)])).await?;
        *count = answer.prompt_tokens;
    }
    for (count, messages) in counts.messages.iter_mut().zip(MESSAGES) {
        let turns = (0..messages).map(|turn| match turn % 2 {
            0 => (Role::User, EACH),
            _ => (Role::Assistant, EACH),
        });
        let turns: Vec<_> = turns.collect();
        *count = prober.may(&question(&turns)).await?.prompt_tokens;
    }
    if recorded.has_roles() {
        let system = [(Role::System, EACH), (Role::User, EACH)];
        counts.system = prober.may(&question(&system)).await?.prompt_tokens;
    }
    let mut costs = fit(&counts);
    let middle = [(Role::User, WORDS[1])];
    let without = counts.words[1].map(i64::from);
    let more = |answer: Answer| Some(i64::from(answer.prompt_tokens?) - without?);
    for &tools in &needs.tools {
        let with = prober
            .may(&Question {
                tools,
                ..question(&middle)
            })
            .await?;
        costs.tools.extend(more(with).map(|more| (tools, more)));
    }
    for &shape in &needs.media {
        let media = Some(shape);
        let with = prober
            .may(&Question {
                media,
                ..question(&middle)
            })
            .await?;
        costs.media.extend(more(with).map(|more| (shape, more)));
    }
    let id_costs = id_costs(prober, &question(&middle), needs, options, &costs).await?;
    let (forced, forced_shown) = if recorded.generates() {
        forced(prober, &question(&[(Role::User, WORDS[0])]), options).await?
    } else {
        (Forced::No, false)
    };
    Ok(EndpointCalibration {
        send_as: (endpoint != recorded).then_some(endpoint),
        costs,
        id_costs,
        forced,
        forced_shown,
    })
}

/// What a prompt of token ids costs, where some go out so and the target takes them.
async fn id_costs(
    prober: &mut Prober<'_>,
    middle: &Question,
    needs: &EndpointNeeds,
    options: &CalibrateOptions,
    costs: &TokenCosts,
) -> Result<Option<TokenCosts>, TargetError> {
    let takes_ids = matches!(
        middle.endpoint,
        Endpoint::Completions | Endpoint::Embeddings
    );
    let wanted = match options.prompts.prompt_as {
        PromptAs::Auto => needs.token_ids > 0,
        PromptAs::Text => false,
        PromptAs::TokenIds => true,
    };
    if !takes_ids || !wanted {
        return Ok(None);
    }
    let question = Question {
        as_ids: true,
        ..middle.clone()
    };
    let answer = prober.ask_whether(&question).await?;
    Ok(answer.map(|answer| TokenCosts {
        // Ids are the whole prompt: a mark at its beginning is not put there by most.
        fixed: answer
            .prompt_tokens
            .map_or(0, |count| i64::from(count) - fit::words(middle)),
        per_message: 0,
        system: 0,
        per_word: 1.0,
        measured: answer.prompt_tokens.is_some(),
        ..costs.clone()
    }))
}

/// By what answers are forced to a length, and whether a capped one was shorter.
async fn forced(
    prober: &mut Prober<'_>,
    question: &Question,
    options: &CalibrateOptions,
) -> Result<(Forced, bool), TargetError> {
    let asked = |output: OutputLength, forced: &Forced| Question {
        output,
        forced: forced.clone(),
        ..question.clone()
    };
    let ends = options
        .prompts
        .tokenizer
        .as_ref()
        .map(PromptTokenizer::end_tokens)
        .filter(|ends| !ends.is_empty());
    let bias = ends.map(Forced::LogitBias);
    let ways = [Forced::Both, Forced::IgnoreEos, Forced::MinTokens];
    for way in ways.into_iter().chain(bias) {
        let exact = asked(OutputLength::Exact(FORCED), &way);
        let answer = prober.ask_whether(&exact).await?;
        let Some(answer) = answer else {
            // Refused: it may know fewer of the fields.
            continue;
        };
        if answer.output_tokens == Some(FORCED) {
            let capped = prober
                .may(&asked(OutputLength::Cap(FORCED), &Forced::No))
                .await?;
            let shown = capped.output_tokens.is_some_and(|count| count < FORCED);
            return Ok((way, shown));
        }
    }
    Ok((Forced::No, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_is_of_the_same_kind() {
        for recorded in Endpoint::ALL.into_iter().filter(|it| it.is_inference()) {
            for other in of_its_kind(recorded) {
                assert_eq!(other.generates(), recorded.generates());
                assert_ne!(other, recorded);
            }
        }
        assert_eq!(
            of_its_kind(Endpoint::Messages)[0],
            Endpoint::ChatCompletions
        );
        assert_eq!(
            of_its_kind(Endpoint::TgiGenerateStream)[0],
            Endpoint::Completions
        );
        assert!(is_stream(Endpoint::GeminiStream) && !is_stream(Endpoint::ChatCompletions));
    }
}
