//! What a reader of a result should know of how its target counts.

use super::Calibration;

impl Calibration {
    /// One sentence each; none where all is as it should be.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.endpoints.values().any(|found| !found.costs.measured) {
            remarks.push(
                "the target does not tell its token counts, so one word was taken for one token"
                    .to_owned(),
            );
        }
        if self.vocabulary.dropped > 0 {
            remarks.push(format!(
                "{} of {} words are more than one token of the target, and were not used",
                self.vocabulary.dropped, self.vocabulary.words
            ));
        }
        for (recorded, found) in &self.endpoints {
            let slope = found.costs.per_word;
            if (slope - 1.0).abs() > SLOPE_SEEN {
                remarks.push(format!(
                    "at {} a word is {slope:.3} tokens of the target, so that single prompts are off by some",
                    recorded.path()
                ));
            }
            if let Some(endpoint) = found.send_as {
                remarks.push(format!(
                    "requests recorded at {} went to {}",
                    recorded.path(),
                    endpoint.path()
                ));
            }
            if found.is_exact() && !found.forced_shown {
                remarks.push(format!(
                    "whether the target forces answers at {} to a length is not known: one that was only capped came as long (the model may be wordy)",
                    recorded.path()
                ));
            }
        }
        remarks
    }
}

/// One word in a prompt of 1,024 that is two tokens.
const SLOPE_SEEN: f64 = 0.0005;

#[cfg(test)]
mod tests {
    use super::super::{EndpointCalibration, Forced};
    use super::*;
    use crate::replay::TokenCosts;
    use crate::shape::Endpoint;

    fn remarks(found: EndpointCalibration) -> Vec<String> {
        let mut calibration = Calibration::assumed("m");
        calibration.endpoints.insert(Endpoint::Messages, found);
        calibration.remarks()
    }

    #[test]
    fn only_what_is_out_of_the_ordinary_is_said() {
        let good = EndpointCalibration {
            costs: TokenCosts {
                measured: true,
                ..TokenCosts::default()
            },
            forced: Forced::Both,
            forced_shown: true,
            ..EndpointCalibration::default()
        };
        assert!(remarks(good.clone()).is_empty());
        let odd = EndpointCalibration {
            costs: TokenCosts {
                per_word: 1.25,
                ..TokenCosts::default()
            },
            send_as: Some(Endpoint::ChatCompletions),
            forced_shown: false,
            ..good
        };
        let said = remarks(odd);
        let parts = [
            "does not tell",
            "1.250 tokens",
            "went to /v1/chat/completions",
            "wordy",
        ];
        assert_eq!(said.len(), parts.len());
        for (sentence, part) in said.iter().zip(parts) {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}
