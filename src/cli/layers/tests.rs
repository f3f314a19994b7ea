use super::*;
use clap::value_parser;

fn command() -> Command {
    let global = |name: &'static str| Arg::new(name).long(name).global(true);
    Command::new("reenact")
        .arg(global("config").value_parser(value_parser!(PathBuf)))
        .arg(global("log-level"))
        .subcommand(
            Command::new("replay")
                .arg(Arg::new("trace").action(ArgAction::Append))
                .arg(
                    Arg::new("speed")
                        .long("speed")
                        .value_parser(value_parser!(f64))
                        .default_value("1"),
                )
                .arg(Arg::new("slo").long("slo").action(ArgAction::Append))
                .arg(Arg::new("target").long("target").required(true))
                .arg(
                    Arg::new("out")
                        .long("out-dir")
                        .required_unless_present("dry-run"),
                )
                .arg(
                    Arg::new("dry-run")
                        .long("dry-run")
                        .action(ArgAction::SetTrue)
                        .conflicts_with("out"),
                ),
        )
}

/// The layered command line with these above each other, parsed.
fn parse(
    file: Option<&str>,
    environment: &[(&str, &str)],
    args: &[&str],
) -> Result<(ArgMatches, Layered), LayerError> {
    let dir = tempfile::tempdir().unwrap();
    let mut line: Vec<OsString> = ["reenact", "replay"].map(OsString::from).to_vec();
    if let Some(text) = file {
        let path = dir.path().join("reenact.toml");
        std::fs::write(&path, text).unwrap();
        line.extend(["--config".into(), path.into()]);
    }
    line.extend(args.iter().map(OsString::from));
    let lookup = |name: &str| {
        environment
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| OsString::from(value))
    };
    let layered = lay(&command(), line, lookup)?;
    let matches = command().try_get_matches_from(&layered.args).unwrap();
    let replay = matches.subcommand_matches("replay").unwrap().clone();
    Ok((replay, layered))
}

fn strings<'a>(matches: &'a ArgMatches, id: &str) -> Vec<&'a str> {
    matches
        .get_many::<String>(id)
        .unwrap_or_default()
        .map(String::as_str)
        .collect()
}

const FILE: &str = "log-level = \"warn\"\n[replay]\nspeed = 2\ntarget = \"http://a\"\nout-dir = \"file\"\nslo = [\"x<1\", \"y<2\"]\n";

#[test]
fn the_flag_wins_over_the_environment_and_that_over_the_file() {
    let (matches, layered) = parse(Some(FILE), &[], &[]).unwrap();
    assert_eq!(matches.get_one::<f64>("speed"), Some(&2.0));
    assert_eq!(strings(&matches, "slo"), ["x<1", "y<2"]);
    assert!(layered.tell("speed").unwrap().contains("reenact.toml"));

    let environment = [
        ("REENACT_SPEED", "3"),
        ("REENACT_SLO", "z<3"),
        ("REENACT_TARGET", ""),
    ];
    let (matches, layered) = parse(Some(FILE), &environment, &[]).unwrap();
    assert_eq!(matches.get_one::<f64>("speed"), Some(&3.0));
    assert_eq!(strings(&matches, "slo"), ["z<3"]);
    assert_eq!(
        strings(&matches, "target"),
        ["http://a"],
        "an empty variable is not set"
    );
    assert!(layered.tell("speed").unwrap().contains("REENACT_SPEED"));

    let (matches, layered) = parse(
        Some(FILE),
        &environment,
        &["--speed", "4", "--slo", "w<4", "--", "trace"],
    )
    .unwrap();
    assert_eq!(matches.get_one::<f64>("speed"), Some(&4.0));
    assert_eq!(strings(&matches, "slo"), ["w<4"]);
    assert_eq!(strings(&matches, "trace"), ["trace"]);
    assert_eq!(layered.tell("speed"), None);
}

#[test]
fn options_of_every_command_come_from_the_layers_too() {
    let (matches, _) = parse(Some(FILE), &[], &[]).unwrap();
    assert_eq!(strings(&matches, "log-level"), ["warn"]);
    let (matches, _) = parse(Some(FILE), &[("REENACT_LOG_LEVEL", "debug")], &[]).unwrap();
    assert_eq!(strings(&matches, "log-level"), ["debug"]);
    let own = format!("{FILE}log-level = \"error\"\n");
    let (matches, _) = parse(Some(&own), &[], &[]).unwrap();
    assert_eq!(
        strings(&matches, "log-level"),
        ["error"],
        "the command's own table is nearer"
    );
}

#[test]
fn an_option_gives_way_to_one_above_it_that_it_conflicts_with() {
    let (matches, _) = parse(Some(FILE), &[], &["--dry-run"]).unwrap();
    assert!(matches.get_flag("dry-run") && strings(&matches, "out").is_empty());
    let (matches, _) = parse(Some(FILE), &[("REENACT_DRY_RUN", "1")], &[]).unwrap();
    assert!(matches.get_flag("dry-run") && strings(&matches, "out").is_empty());
    let (matches, _) = parse(Some(FILE), &[("REENACT_DRY_RUN", "false")], &[]).unwrap();
    assert!(!matches.get_flag("dry-run"));
    assert_eq!(
        strings(&matches, "out"),
        ["file"],
        "off conflicts with nothing"
    );
}

#[test]
fn a_variable_holds_several_values_of_a_repeatable_option() {
    let (matches, _) = parse(Some(FILE), &[("REENACT_SLO", "a<1, b<2")], &[]).unwrap();
    assert_eq!(strings(&matches, "slo"), ["a<1", "b<2"]);
}

#[test]
fn a_switch_is_on_or_off() {
    let error = parse(Some(FILE), &[("REENACT_DRY_RUN", "perhaps")], &[]).unwrap_err();
    assert!(error.to_string().contains("--dry-run") && error.to_string().contains("perhaps"));
    assert!(error.hint().contains("REENACT_DRY_RUN"));
}

#[test]
fn strangers_in_the_file_are_named() {
    for (text, word) in [
        ("[replai]\nspeed = 1\n", "replai"),
        ("[replay]\nsped = 1\n", "sped"),
        ("speed = 1\n", "outside a table"),
        ("[replay]\nspeed = {}\n", "expected a string"),
        ("[replay\n", "line 1"),
    ] {
        let error = parse(Some(text), &[], &[]).unwrap_err().to_string();
        assert!(
            error.contains(word) && error.contains("reenact.toml"),
            "{error}"
        );
    }
    let line = ["reenact", "replay", "--config", "none.toml"].map(OsString::from);
    let missing = lay(&command(), line.to_vec(), |_| None).unwrap_err();
    assert!(missing.to_string().contains("none.toml"));
}
