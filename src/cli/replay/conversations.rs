//! Options that say how conversations are replayed.

use crate::cli::failure::Failure;
use crate::replay::{RunOptions, SessionMode};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Conversations")]
pub(super) struct ConversationArgs {
    /// When the later turns of a conversation are sent: once the answer before is whole and its user's recorded think time has passed
    /// (linked), at their recorded instant but never before that answer (catch-up), or at their recorded instant whatever became
    /// of it (independent)
    #[arg(long, default_value = "linked", value_name = "HOW")]
    sessions: Sessions,

    /// Put the target's own answers into the prompts of later turns, instead of words of the recorded length; needs --sessions
    /// linked or catch-up
    #[arg(long)]
    live_history: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Sessions {
    Linked,
    CatchUp,
    Independent,
}

impl ConversationArgs {
    pub(super) fn apply(&self, options: &mut RunOptions) -> Result<(), Failure> {
        if self.live_history && matches!(self.sessions, Sessions::Independent) {
            return Err(Failure::usage(anyhow::anyhow!(
                "--live-history repeats answers, and --sessions independent does not wait for them"
            ))
            .hint("use --sessions linked or catch-up"));
        }
        options.live_history = self.live_history;
        options.sessions = match self.sessions {
            Sessions::Linked => SessionMode::Linked,
            Sessions::CatchUp => SessionMode::CatchUp,
            Sessions::Independent => SessionMode::Independent,
        };
        Ok(())
    }
}
