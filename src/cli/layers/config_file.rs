use std::collections::BTreeMap;
use std::path::Path;

use clap::Command;

use super::{LayerError, options_of};

/// A config file: values by key, in a table for each command, and above the tables those of all commands.
#[derive(Debug, Default)]
pub(super) struct Tables {
    commands: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    all: BTreeMap<String, Vec<String>>,
}

impl Tables {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or has a table or key that no command knows.
    pub(super) fn read(path: &Path, command: &Command) -> Result<Self, LayerError> {
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
        Self::of(parsed, command).map_err(|what| LayerError::Unknown {
            path: path.to_owned(),
            what,
        })
    }

    fn of(parsed: toml::Table, command: &Command) -> Result<Self, String> {
        let mut tables = Self::default();
        for (name, value) in parsed {
            let toml::Value::Table(table) = value else {
                if !options_of(command, "").any(|(_, long)| long == name) {
                    return Err(format!(
                        "`{name}` stands outside a table; options stand in [record], [replay], …"
                    ));
                }
                let values = values(&value).ok_or_else(|| not_a_value(&name))?;
                tables.all.insert(name, values);
                continue;
            };
            let Some(sub) = command.find_subcommand(&name) else {
                let known: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
                return Err(format!(
                    "[{name}] is no command; tables are named {}",
                    known.join(", ")
                ));
            };
            if sub.has_subcommands() {
                for (below, value) in table {
                    let (toml::Value::Table(table), Some(_)) = (value, sub.find_subcommand(&below))
                    else {
                        let known: Vec<_> = sub.get_subcommands().map(Command::get_name).collect();
                        return Err(format!(
                            "[{name}] has no options of its own; its commands have, in tables named [{name}.X] with X one of {}",
                            known.join(", ")
                        ));
                    };
                    let whole = format!("{name} {below}");
                    let options = options(command, &whole, &format!("{name}.{below}"), table)?;
                    tables.commands.insert(whole, options);
                }
            } else {
                let options = options(command, &name, &name, table)?;
                tables.commands.insert(name, options);
            }
        }
        Ok(tables)
    }

    /// An option's values, from its command's table, else from above the tables.
    pub(super) fn values(&self, command: &str, long: &str) -> Option<&[String]> {
        let own = self
            .commands
            .get(command)
            .and_then(|options| options.get(long));
        own.or_else(|| self.all.get(long)).map(Vec::as_slice)
    }
}

/// The options of one command's table.
fn options(
    command: &Command,
    name: &str,
    table_name: &str,
    table: toml::Table,
) -> Result<BTreeMap<String, Vec<String>>, String> {
    let mut options = BTreeMap::new();
    for (key, value) in table {
        if !options_of(command, name).any(|(_, long)| long == key) {
            return Err(format!(
                "[{table_name}] has no option {key}; see `reenact {name} --help`"
            ));
        }
        let values = values(&value).ok_or_else(|| not_a_value(&format!("[{table_name}] {key}")))?;
        options.insert(key, values);
    }
    Ok(options)
}

fn not_a_value(key: &str) -> String {
    format!("{key}: expected a string, number, true / false, or a list of those")
}

fn values(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::Array(items) => items.iter().map(scalar).collect(),
        other => scalar(other).map(|value| vec![value]),
    }
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
