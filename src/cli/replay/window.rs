//! Options that say what of a run is measured, and when it is believed.

use std::time::Duration;

use crate::cli::values;
use crate::measure::FidelityBar;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is measured and compared")]
pub(super) struct WindowArgs {
    /// Send the requests of this long from the run's start without measuring them: production's caches were warm and its queue was not
    /// empty. What is measured begins under load; nothing is drained in between
    #[arg(long, default_value = "0", value_name = "TIME", value_parser = values::duration)]
    pub(super) prelude: Duration,

    /// Change a bar of fidelity below which a run is invalid, such as lateness=5ms,cpu=80%: lateness (of sends, P99), cpu (share of the
    /// cores), prompt-tokens (share of them that is off), prefix-share (difference), ks (distance of the gaps between sends)
    #[arg(long, value_name = "BAR=VALUE,…", value_delimiter = ',', value_parser = changed)]
    fidelity: Vec<Changed>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Changed {
    Lateness(Duration),
    Cpu(f64),
    PromptTokens(f64),
    PrefixShare(f64),
    Ks(f64),
}

impl WindowArgs {
    pub(super) fn bar(&self) -> FidelityBar {
        let mut bar = FidelityBar::default();
        for &changed in &self.fidelity {
            match changed {
                Changed::Lateness(lateness) => {
                    bar.lateness = lateness;
                    // What was asked for is meant, whatever the median.
                    bar.lateness_of_ttft = 0.0;
                }
                Changed::Cpu(share) => bar.cpu_share = share,
                Changed::PromptTokens(error) => bar.prompt_tokens_error = error,
                Changed::PrefixShare(error) => bar.prefix_share_error = error,
                Changed::Ks(distance) => bar.ks_distance = distance,
            }
        }
        bar
    }
}

fn changed(text: &str) -> Result<Changed, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "write BAR=VALUE, such as lateness=5ms".to_owned())?;
    Ok(match name.trim() {
        "lateness" => Changed::Lateness(values::duration(value)?),
        "cpu" => Changed::Cpu(values::rate(value)?),
        "prompt-tokens" => Changed::PromptTokens(values::rate(value)?),
        "prefix-share" => Changed::PrefixShare(values::rate(value)?),
        "ks" => Changed::Ks(values::rate(value)?),
        other => {
            return Err(format!(
                "`{other}` is no bar; there are lateness, cpu, prompt-tokens, prefix-share and ks"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_changed_one_by_one() {
        let args = WindowArgs {
            prelude: Duration::ZERO,
            fidelity: ["lateness=5ms", "cpu=80%"]
                .map(|text| changed(text).unwrap())
                .to_vec(),
        };
        let bar = args.bar();
        assert_eq!(bar.lateness, Duration::from_millis(5));
        assert!((bar.cpu_share - 0.8).abs() < 1e-9);
        assert!((bar.ks_distance - FidelityBar::default().ks_distance).abs() < 1e-9);
        assert!(changed("speed=3").unwrap_err().contains("no bar"));
        assert!(changed("cpu").unwrap_err().contains("BAR=VALUE"));
        assert!(changed("cpu=fast").is_err());
    }
}
