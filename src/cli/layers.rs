//! Options from the environment and from a config file, for every option of every command alike: a value found there
//! becomes the option's default, so the command line wins over the environment and the environment over the file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Command};

/// Where a default came from, by (command, long option).
#[derive(Debug, Default)]
pub(super) struct Provenance(BTreeMap<(String, String), Source>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Environment(String),
    File(PathBuf),
}

/// What is wrong with a config file.
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
}

impl Provenance {
    /// Says where the value of `--long` of `command` was set, where it was not on the command line.
    pub(super) fn tell(&self, command: &str, long: &str) -> Option<String> {
        self.0
            .get(&(command.to_owned(), long.to_owned()))
            .map(|source| match source {
                Source::Environment(name) => {
                    format!("--{long} was set by the environment variable {name}")
                }
                Source::File(path) => {
                    format!(
                        "--{long} was set in {}, table [{command}], key {long}",
                        path.display()
                    )
                }
            })
    }
}

/// Puts the config file's and the environment's values under the command line.
///
/// # Errors
/// When the file cannot be read, is not TOML, or has a table or key that no command knows.
pub(super) fn apply(
    command: Command,
    file: Option<&Path>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<(Command, Provenance), LayerError> {
    let mut tables = file.map(read).transpose()?.unwrap_or_default();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    if let (Some(path), Some(stranger)) = (file, tables.keys().find(|name| !names.contains(name))) {
        let what = format!(
            "[{stranger}] is no command; tables are named {}",
            names.join(", ")
        );
        return Err(LayerError::Unknown {
            path: path.to_owned(),
            what,
        });
    }
    let mut provenance = Provenance::default();
    let mut layered = command;
    for name in names {
        let mut table = tables.remove(&name).unwrap_or_default();
        layered = layered.mut_subcommand(&name, |sub| {
            sub.mut_args(|arg| {
                let Some(long) = arg.get_long().map(str::to_owned) else {
                    return arg;
                };
                let variable = format!("REENACT_{}", long.replace('-', "_").to_uppercase());
                let from_file = table.remove(&long);
                let (values, source) = match (environment(&variable), from_file, file) {
                    (Some(value), _, _) => (
                        split(&arg, &value.to_string_lossy()),
                        Source::Environment(variable),
                    ),
                    (None, Some(values), Some(path)) => (values, Source::File(path.to_owned())),
                    _ => return arg,
                };
                provenance.0.insert((name.clone(), long), source);
                arg.required(false).default_values(values)
            })
        });
        if let (Some(path), Some(stranger)) = (file, table.keys().next()) {
            let what = format!("[{name}] has no option {stranger}; see `reenact {name} --help`");
            return Err(LayerError::Unknown {
                path: path.to_owned(),
                what,
            });
        }
    }
    Ok((layered, provenance))
}

/// A variable can hold several values of a repeatable option, separated by commas.
fn split(arg: &clap::Arg, value: &str) -> Vec<String> {
    if matches!(arg.get_action(), ArgAction::Append) {
        value
            .split(',')
            .map(|part| part.trim().to_owned())
            .collect()
    } else {
        vec![value.to_owned()]
    }
}

type Tables = BTreeMap<String, BTreeMap<String, Vec<String>>>;

fn read(path: &Path) -> Result<Tables, LayerError> {
    let text = std::fs::read_to_string(path).map_err(|source| LayerError::Read {
        path: path.to_owned(),
        source,
    })?;
    let parsed: toml::Table =
        text.parse()
            .map_err(|error: toml::de::Error| LayerError::Syntax {
                path: path.to_owned(),
                message: error.to_string().trim_end().to_owned(),
            })?;
    let unknown = |what: String| LayerError::Unknown {
        path: path.to_owned(),
        what,
    };
    let mut tables = Tables::new();
    for (name, value) in parsed {
        let toml::Value::Table(table) = value else {
            return Err(unknown(format!(
                "`{name}` stands outside a table; options stand in [record], [replay], …"
            )));
        };
        let mut options = BTreeMap::new();
        for (key, value) in table {
            let values = match value {
                toml::Value::Array(items) => items.iter().map(scalar).collect(),
                other => scalar(&other).map(|value| vec![value]),
            };
            let values = values.ok_or_else(|| {
                unknown(format!(
                    "[{name}] {key}: expected a string, number, true / false, or a list of those"
                ))
            })?;
            options.insert(key, values);
        }
        tables.insert(name, options);
    }
    Ok(tables)
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, value_parser};

    fn command() -> Command {
        Command::new("reenact").subcommand(
            Command::new("replay")
                .arg(
                    Arg::new("speed")
                        .long("speed")
                        .value_parser(value_parser!(f64))
                        .default_value("1"),
                )
                .arg(Arg::new("slo").long("slo").action(ArgAction::Append))
                .arg(Arg::new("target").long("target").required(true))
                .arg(
                    Arg::new("keep")
                        .long("keep-going")
                        .action(ArgAction::SetTrue),
                ),
        )
    }

    fn parse(
        file: Option<&str>,
        environment: &[(&str, &str)],
        args: &[&str],
    ) -> (clap::ArgMatches, Provenance) {
        let dir = tempfile::tempdir().unwrap();
        let path = file.map(|text| {
            let path = dir.path().join("reenact.toml");
            std::fs::write(&path, text).unwrap();
            path
        });
        let lookup = |name: &str| {
            environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        };
        let (command, provenance) = apply(command(), path.as_deref(), lookup).unwrap();
        let matches = command
            .try_get_matches_from([&["reenact", "replay"], args].concat())
            .unwrap();
        (
            matches.subcommand_matches("replay").unwrap().clone(),
            provenance,
        )
    }

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_the_file() {
        let file = "[replay]\nspeed = 2\ntarget = \"http://a\"\nkeep-going = true\nslo = [\"x<1\", \"y<2\"]\n";
        let (matches, provenance) = parse(Some(file), &[], &[]);
        assert_eq!(matches.get_one::<f64>("speed"), Some(&2.0));
        assert!(matches.get_flag("keep"));
        assert_eq!(matches.get_many::<String>("slo").unwrap().count(), 2);
        assert!(
            provenance
                .tell("replay", "speed")
                .unwrap()
                .contains("reenact.toml")
        );

        let (matches, provenance) = parse(Some(file), &[("REENACT_SPEED", "3")], &[]);
        assert_eq!(matches.get_one::<f64>("speed"), Some(&3.0));
        assert!(
            provenance
                .tell("replay", "speed")
                .unwrap()
                .contains("REENACT_SPEED")
        );

        let (matches, _) = parse(Some(file), &[("REENACT_SPEED", "3")], &["--speed", "4"]);
        assert_eq!(matches.get_one::<f64>("speed"), Some(&4.0));
    }

    #[test]
    fn a_variable_holds_several_values_of_a_repeatable_option() {
        let (matches, _) = parse(
            None,
            &[("REENACT_SLO", "a<1, b<2")],
            &["--target", "http://a"],
        );
        let values: Vec<&String> = matches.get_many("slo").unwrap().collect();
        assert_eq!(values, ["a<1", "b<2"]);
    }

    #[test]
    fn strangers_in_the_file_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        for (text, word) in [
            ("[replai]\nspeed = 1\n", "replai"),
            ("[replay]\nsped = 1\n", "sped"),
            ("speed = 1\n", "outside a table"),
            ("[replay]\nspeed = {}\n", "expected a string"),
            ("[replay\n", "line 1"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = apply(command(), Some(&path), |_| None)
                .unwrap_err()
                .to_string();
            assert!(error.contains(word) && error.contains("c.toml"), "{error}");
        }
        let missing = apply(command(), Some(&dir.path().join("none.toml")), |_| None).unwrap_err();
        assert!(missing.to_string().contains("none.toml"));
    }
}
