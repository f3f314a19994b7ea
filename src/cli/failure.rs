use std::fmt;

/// How a command ended, as its exit code (see docs/objectives-and-ci.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and every objective met.
    Ok = 0,
    /// Could not run.
    CouldNotRun = 1,
    /// The command line or a config file is wrong.
    Usage = 2,
    /// An objective was missed.
    ObjectiveMissed = 3,
    /// The measurement is invalid: the generator was the bottleneck, or fidelity was below the bar.
    Invalid = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work, and what mends it. Shown as `error: what` and `hint: mend` on standard error.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// The command could not run.
    pub fn could_not_run(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::CouldNotRun,
            error: error.into(),
            hint: None,
        }
    }

    /// The user asked for something that makes no sense.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
            hint: None,
        }
    }

    /// Says what the user can do about it.
    #[must_use]
    pub fn hint(mut self, mend: impl Into<String>) -> Self {
        self.hint = Some(mend.into());
        self
    }

    /// Whether the reader of our output went away, which is no failure (`| head`).
    pub fn is_broken_pipe(&self) -> bool {
        self.error.chain().any(|cause| {
            cause
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        })
    }

    /// The exit code it ends in.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

/// An error without a code of its own: the command could not run.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::could_not_run(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = anstyle::Style::new()
            .bold()
            .fg_color(Some(anstyle::AnsiColor::Red.into()));
        write!(f, "{error}error:{error:#} {}", self.error)?;
        // Some errors already quote their cause.
        let mut said = self.error.to_string();
        for cause in self.error.chain().skip(1).map(ToString::to_string) {
            if !said.contains(&cause) {
                write!(f, ": {cause}")?;
                said = cause;
            }
        }
        if let Some(mend) = &self.hint {
            write!(f, "\n{}", Hint(mend))?;
        }
        Ok(())
    }
}

/// What mends an error, as the line below it.
pub(super) struct Hint<'a>(pub(super) &'a str);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = anstyle::Style::new()
            .bold()
            .fg_color(Some(anstyle::AnsiColor::Cyan.into()));
        write!(f, "{style}hint:{style:#} {}", self.0)
    }
}

/// Adds a hint to any error on its way out.
pub trait HintExt<T> {
    /// Turns the error into a [`Failure`] with a hint.
    ///
    /// # Errors
    /// The error it was called on.
    fn hint(self, mend: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> HintExt<T> for Result<T, E> {
    fn hint(self, mend: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| error.into().hint(mend))
    }
}
