use std::path::PathBuf;
use std::time::Duration;

use super::super::failure::Failure;
use super::super::{inspect, values};
use crate::anonymise::{Lengths, OperatorKey, Policy};
use crate::trace::Recipient;

/// What of the traffic may be kept, and how exactly.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Privacy")]
pub(super) struct PrivacyArgs {
    /// A model name that may stand in traces and metrics as it is; all others become model-0, model-1, …
    #[arg(long, value_name = "NAME")]
    keep_model: Vec<String>,
    /// Keep a model's name in a trace, too, once the file has this many exchanges of it; 0 never does. Names come from clients:
    /// choose it larger than what one client sends by mistake
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = values::whole::<u32>)]
    name_threshold: u32,
    /// Keep bytes and tokens less exactly: to multiples of N tokens (and 4 N bytes), or `log` for 8 steps to each doubling
    // By name: clap would take the conversion that never fails, which is for reading what later versions wrote.
    #[arg(long, value_name = "N|log", value_parser = <Lengths as std::str::FromStr>::from_str)]
    quantise_lengths: Option<Lengths>,
    /// Put each arrival off by a random time below this. Ten times what lies between two arrivals hides which is which; the order in
    /// which exchanges end stays
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = values::duration)]
    time_jitter: Duration,
    /// Put all arrivals off by one random time below this, so that times since the start say little
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = values::duration)]
    time_shift: Duration,
    /// Leave this share of conversations out, each with all its turns, chosen at random
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = values::rate)]
    drop_sessions: f64,
    /// A file of 64 hexadecimal digits, readable by its owner only, to hash prompts under instead of a random key for each file.
    /// The files of a run then share their numbers, and recorders with the same key their samples: files can be linked
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Seal traces to this age recipient (age1…, as age-keygen prints it; may be given several times): the recorder cannot read
    /// what it wrote. Files are called NAME-000001.rt.age and on, and are read with --identity
    #[arg(long, value_name = "RECIPIENT")]
    encrypt_to: Vec<Recipient>,
    /// Seal traces to the recipients in this file, one on each line
    #[arg(long, value_name = "FILE")]
    recipients_file: Vec<PathBuf>,
}

impl PrivacyArgs {
    /// The policy that these options make.
    pub(super) fn policy(&self) -> Policy {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a million"
        )]
        let dropped_sessions_ppm = (self.drop_sessions * 1e6).round() as u32;
        Policy {
            keep_models: self.keep_model.iter().cloned().collect(),
            name_threshold: self.name_threshold,
            lengths: self.quantise_lengths.unwrap_or_default(),
            time_jitter_us: us(self.time_jitter),
            time_shift_us: us(self.time_shift),
            dropped_sessions_ppm,
            ..Policy::default()
        }
    }

    /// The operator's key, where there is one.
    pub(super) fn operator_key(&self) -> Result<Option<OperatorKey>, Failure> {
        let Some(path) = &self.key_file else {
            return Ok(None);
        };
        OperatorKey::read(path).map(Some).map_err(|error| {
            let hint = error.hint();
            Failure::could_not_run(error).hint(hint)
        })
    }

    /// Whom traces are sealed to.
    pub(super) fn recipients(&self) -> Result<Vec<Recipient>, Failure> {
        let mut recipients = self.encrypt_to.clone();
        for path in &self.recipients_file {
            recipients.extend(Recipient::read_all(path).map_err(inspect::failure)?);
        }
        Ok(recipients)
    }
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
