//! Options from the environment and from a config file, for every option of every command alike: a value found there is
//! added to the command line as if it had been typed, unless the option, or one that it conflicts with, was typed. So the
//! command line wins over the environment, the environment over the file, and clap judges all three by the same rules.

mod config_file;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use self::config_file::Tables;

/// A command line with the layers below it added.
#[derive(Debug)]
pub(super) struct Layered {
    /// What clap shall parse.
    pub(super) args: Vec<OsString>,
    /// The subcommand, where one was typed.
    pub(super) subcommand: Option<String>,
    /// Where each option that was not typed comes from, by its long name.
    provenance: BTreeMap<String, Source>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Environment(String),
    File(PathBuf),
}

/// What is wrong with a config file, or with a variable.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayerError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the TOML parser says, with line and column.
        message: String,
    },
    /// A table or key that no command has.
    #[error("{path}: {what}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Which, and what would have been right.
        what: String,
    },
    /// A switch that is neither on nor off.
    #[error("--{long} is on or off, and `{value}` is neither; write true or false")]
    Switch {
        /// The option.
        long: String,
        /// What it was set to.
        value: String,
        /// Where.
        told: String,
    },
}

impl LayerError {
    /// What mends it.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "--config names a TOML file".to_owned(),
            Self::Syntax { .. } | Self::Unknown { .. } => {
                "a table for each command, keys named as its options: [record] trace-dir = \"…\""
                    .to_owned()
            }
            Self::Switch { told, .. } => told.clone(),
        }
    }
}

impl Layered {
    /// Says where the value of `--long` was set, where it was not typed.
    pub(super) fn tell(&self, long: &str) -> Option<String> {
        self.provenance.get(long).map(|source| source.tell(long))
    }
}

impl Source {
    fn tell(&self, long: &str) -> String {
        match self {
            Self::Environment(name) => {
                format!("--{long} was set by the environment variable {name}")
            }
            Self::File(path) => format!("--{long} was set in {}", path.display()),
        }
    }
}

/// Adds the environment's and the config file's values to the command line `args`. The file is the one that `--config` names,
/// else the variable `REENACT_CONFIG`.
///
/// # Errors
/// When the file cannot be read, is not TOML, or has a table or key that no command knows; when a switch is neither on nor off.
pub(super) fn lay(
    command: &Command,
    args: Vec<OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Layered, LayerError> {
    // An empty variable is one that is not set, as shells and manifests write it.
    let environment = |long: &str| {
        let name = format!("REENACT_{}", long.replace('-', "_").to_uppercase());
        let value = environment(&name).filter(|value| !value.is_empty())?;
        Some((value, Source::Environment(name)))
    };
    // What is wrong with the command line is clap's to say, when it parses the whole.
    let matches = command
        .clone()
        .ignore_errors(true)
        .try_get_matches_from(&args)
        .ok();
    let typed = matches.as_ref().and_then(innermost);
    let named = typed
        .as_ref()
        .and_then(|(_, typed)| typed.get_one::<PathBuf>(CONFIG).cloned());
    let file = named.or_else(|| environment(CONFIG).map(|(path, _)| PathBuf::from(path)));
    let tables = file
        .as_deref()
        .map(|path| Tables::read(path, command))
        .transpose()?
        .unwrap_or_default();
    let Some((name, typed)) = typed else {
        return Ok(Layered {
            args,
            subcommand: None,
            provenance: BTreeMap::new(),
        });
    };
    let from_file = |long: &str| Some((tables.values(&name, long)?, file.clone()?));

    let mut layers = Layers::over(command, &name, typed);
    layers.add(|arg, long| {
        let (value, source) = environment(long)?;
        Some((split(arg, value), source))
    })?;
    layers.add(|_, long| {
        let (values, path) = from_file(long)?;
        let values = values.iter().map(OsString::from).collect();
        Some((values, Source::File(path)))
    })?;

    // Behind `--` all is positional.
    let end = args
        .iter()
        .position(|arg| arg == "--")
        .unwrap_or(args.len());
    let mut whole = args;
    whole.splice(end..end, layers.added);
    Ok(Layered {
        args: whole,
        subcommand: Some(name),
        provenance: layers.provenance,
    })
}

/// The layers of one command's options, from the top down.
struct Layers<'a> {
    options: Vec<(&'a Arg, &'a str)>,
    /// For each option (by id) those that cannot stand beside it.
    conflicts: BTreeMap<&'a str, BTreeSet<&'a str>>,
    /// Options that a layer above has set.
    decided: BTreeSet<&'a str>,
    /// Of them, those that are in force: a switch that is set to off conflicts with nothing.
    in_force: BTreeSet<&'a str>,
    added: Vec<OsString>,
    provenance: BTreeMap<String, Source>,
}

impl<'a> Layers<'a> {
    /// The top layer: what was typed.
    fn over(command: &'a Command, name: &str, typed: &ArgMatches) -> Self {
        let options: Vec<_> = options_of(command, name).collect();
        let mut conflicts: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        if let Some(sub) = subcommand(command, name) {
            for arg in sub.get_arguments() {
                for other in sub.get_arg_conflicts_with(arg) {
                    let (one, two) = (arg.get_id().as_str(), other.get_id().as_str());
                    conflicts.entry(one).or_default().insert(two);
                    conflicts.entry(two).or_default().insert(one);
                }
            }
        }
        let decided: BTreeSet<_> = options
            .iter()
            .map(|(arg, _)| arg.get_id().as_str())
            .filter(|id| typed.value_source(id) == Some(ValueSource::CommandLine))
            .collect();
        Self {
            options,
            conflicts,
            in_force: decided.clone(),
            decided,
            added: Vec::new(),
            provenance: BTreeMap::new(),
        }
    }

    /// Adds one layer below those there are.
    fn add(
        &mut self,
        values: impl Fn(&Arg, &str) -> Option<(Vec<OsString>, Source)>,
    ) -> Result<(), LayerError> {
        let above = self.in_force.clone();
        for &(arg, long) in &self.options {
            let id = arg.get_id().as_str();
            let overruled = self
                .conflicts
                .get(id)
                .is_some_and(|others| !others.is_disjoint(&above));
            if overruled || self.decided.contains(id) {
                continue;
            }
            let Some((values, source)) = values(arg, long) else {
                continue;
            };
            self.decided.insert(id);
            if matches!(arg.get_action(), ArgAction::SetTrue) {
                if !is_on(long, &values, &source)? {
                    continue;
                }
                self.added.push(OsString::from(format!("--{long}")));
            } else {
                for value in values {
                    let mut option = OsString::from(format!("--{long}="));
                    option.push(value);
                    self.added.push(option);
                }
            }
            self.in_force.insert(id);
            self.provenance.insert(long.to_owned(), source);
        }
        Ok(())
    }
}

/// The innermost command that was typed, by its whole name (`trace merge`).
fn innermost(matches: &ArgMatches) -> Option<(String, &ArgMatches)> {
    let (name, typed) = matches.subcommand()?;
    Some(match innermost(typed) {
        Some((below, typed)) => (format!("{name} {below}"), typed),
        None => (name.to_owned(), typed),
    })
}

/// The command of a whole name; the outermost has none.
fn subcommand<'a>(command: &'a Command, name: &str) -> Option<&'a Command> {
    let mut words = name.split_whitespace().peekable();
    words.peek()?;
    words.try_fold(command, |command, word| command.find_subcommand(word))
}

/// The options of a command and those of all commands, with their long names; but for `--config`, which is read before.
fn options_of<'a>(
    command: &'a Command,
    name: &str,
) -> impl Iterator<Item = (&'a Arg, &'a str)> + use<'a> {
    let own = subcommand(command, name)
        .into_iter()
        .flat_map(Command::get_arguments);
    own.chain(command.get_arguments().filter(|arg| arg.is_global_set()))
        .filter_map(|arg| Some((arg, arg.get_long()?)))
        .filter(|(_, long)| *long != CONFIG)
}

fn is_on(long: &str, values: &[OsString], source: &Source) -> Result<bool, LayerError> {
    let text = values
        .iter()
        .map(|value| value.to_string_lossy())
        .collect::<Vec<_>>()
        .join(",");
    match text.trim().to_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(LayerError::Switch {
            long: long.to_owned(),
            value: text,
            told: source.tell(long),
        }),
    }
}

/// A variable can hold several values of a repeatable option, separated by commas.
fn split(arg: &Arg, value: OsString) -> Vec<OsString> {
    match value.to_str() {
        Some(text) if matches!(arg.get_action(), ArgAction::Append) => {
            text.split(',').map(|part| part.trim().into()).collect()
        }
        _ => vec![value],
    }
}

/// The long name of the option that names the file.
const CONFIG: &str = "config";

#[cfg(test)]
mod tests;
