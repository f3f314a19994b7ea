//! `docs/from-recording-to-canary.md`, run command by command as its reader would: ports are the system's choice, and a few lines stand in for the
//! public trace.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::root;
use super::support::{Server, answered};

/// The commands of a page's blocks of code, without their remarks.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```").skip(1).step_by(2);
    blocks.flat_map(commands_of).collect()
}

/// Those of one block: what stands below a command belongs to it. A block of what is printed has none.
fn commands_of(block: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for line in block.lines() {
        let line = line.split("  #").next().unwrap().trim_end();
        match commands.last_mut() {
            _ if line.starts_with("reenact ") || line.starts_with("curl ") => {
                commands.push(line.to_owned());
            }
            Some(command) if !line.is_empty() => *command += &format!("\n{line}"),
            _ => {}
        }
    }
    commands
}

/// A reader at work in a folder, with the program on the path.
struct Reader {
    dir: tempfile::TempDir,
    /// What the page calls a server, and where it is.
    places: Vec<(String, String)>,
}

impl Reader {
    fn command(&self, line: &str) -> Command {
        let line = self
            .places
            .iter()
            .fold(line.to_owned(), |line, (told, is)| line.replace(told, is));
        let path = std::env::var("PATH").unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_reenact")).parent().unwrap();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("exec {line}")])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env("PATH", format!("{}:{path}", program.display()))
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG");
        shell
    }

    /// Starts what listens, where the page says (or by default) but on another port.
    fn serve(&mut self, line: &str, port: &str) -> Server {
        let line = line.trim_end_matches('&');
        let told = format!("127.0.0.1:{port}");
        let line = match line.contains("--listen") {
            true => line.replace(&format!("--listen {told}"), "--listen 127.0.0.1:0"),
            false => line.replacen("gate", "gate --listen 127.0.0.1:0", 1),
        };
        let server = Server::launch(&mut self.command(&line));
        let is = server.url.strip_prefix("http://").unwrap().to_owned();
        self.places.push((format!("localhost:{port}"), is.clone()));
        self.places.push((told, is));
        server
    }

    fn run(&self, line: &str, codes: &[i32]) -> Output {
        let output = self.command(line).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output
                .status
                .code()
                .is_some_and(|code| codes.contains(&code)),
            "{line}: {}: {said}",
            output.status
        );
        output
    }
}

/// A busy machine is no matter of this test.
const LOOSE: &str = " --fidelity lateness=10s --fidelity ks=1 --fidelity cpu=100%";

#[test]
fn the_whole_story_runs_as_it_is_told() {
    let page = std::fs::read_to_string(root().join("docs/from-recording-to-canary.md")).unwrap();
    let mut reader = Reader {
        dir: tempfile::tempdir().unwrap(),
        places: Vec::new(),
    };
    let rows: String = (0..120)
        .map(|i| {
            let at = i * 100;
            format!(
                r#"{{"timestamp":{at},"input_length":200,"output_length":20,"hash_ids":[{i}]}}"#
            ) + "\n"
        })
        .collect();
    std::fs::write(reader.dir.path().join("conversation_trace.jsonl"), rows).unwrap();
    let mut servers = Vec::new();
    let mut recorder = None;
    let mut verdicts = 0;
    let commands = commands(&page);
    assert!(commands.len() >= 13, "{commands:#?}");
    for line in &commands {
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        match words[..] {
            ["reenact", "sim", ..] => {
                let port = if servers.is_empty() { "8000" } else { "8001" };
                servers.push(reader.serve(line, port));
            }
            ["reenact", "record", ..] => recorder = Some(reader.serve(line, "8080")),
            ["reenact", "gate", ..] => {
                let line = line.trim_end_matches('&').to_owned() + LOOSE;
                servers.push(reader.serve(&line, "8090"));
            }
            ["reenact", "replay", "mooncake.rt"] => {
                reader.run(&(line.clone() + LOOSE), &[0]);
                // Ctrl-C, and its last line has what the page's has.
                let mut recorder = recorder.take().unwrap();
                recorder.signal(rustix::process::Signal::INT);
                let (_, said) = recorder.wait();
                let told = page.lines().find(|line| line.contains("drained")).unwrap();
                let told = told
                    .split_whitespace()
                    .filter_map(|word| word.split_once('='));
                let drained = said.lines().find(|line| line.contains("drained")).unwrap();
                for (field, _) in told {
                    assert!(drained.contains(&format!("{field}=")), "{field}: {drained}");
                }
                assert!(drained.contains("recorded=120 "), "{drained}");
            }
            ["reenact", "replay", "traces/"] => {
                reader.run(&(line.clone() + LOOSE), &[3]);
                let results = reader.dir.path().join("results");
                for file in ["report.html", "summary.md", "junit.xml", "percentiles.csv"] {
                    assert!(results.join(file).is_file(), "{file}");
                }
                let result = std::fs::read(results.join("result.json")).unwrap();
                let result: Value = serde_json::from_slice(&result).unwrap();
                let objectives = result["verdict"]["objectives"].as_array().unwrap();
                let slower = |one: &&Value| one["expr"] == "tpot.p50<+10%";
                let slower = objectives.iter().find(slower).unwrap();
                assert_eq!(
                    (&slower["target"], &slower["status"]),
                    (&"candidate".into(), &"fail".into())
                );
                verdicts += 1;
            }
            // It ends in 3 where exchanges stand out more than is allowed.
            ["reenact", "audit", ..] => drop(reader.run(line, &[0, 3])),
            ["curl", "localhost:8090/replays/latest"] => {
                let told = answered(|| {
                    let output = reader.run(&line.replace("curl", "curl -s"), &[0]);
                    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
                    let runs = told["state"] == "running";
                    if runs {
                        Err(told.to_string())
                    } else {
                        Ok(told)
                    }
                });
                assert_eq!(told["state"], "failed", "{told}");
                assert!(
                    told["report"].is_string() && !told["reasons"][0].is_null(),
                    "{told}"
                );
                verdicts += 1;
            }
            _ => drop(reader.run(line, &[0])),
        }
    }
    assert_eq!(verdicts, 2, "{commands:#?}");
}
