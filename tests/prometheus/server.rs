//! The real Prometheus, with one address to scrape.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support;
use crate::support::PATIENCE;

/// A Prometheus that scrapes one recorder, ended with the test.
pub(crate) struct Prometheus {
    child: Child,
    url: String,
}

impl Prometheus {
    pub(crate) fn start(dir: &Path, target: &str) -> Self {
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}\n\
             scrape_configs: [{{job_name: reenact, static_configs: [{{targets: [\"{target}\"]}}]}}]\n"
        );
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let mut tries = std::iter::repeat_with(|| Self::listening(dir, &file)).take(20);
        tries
            .find_map(|it| it)
            .expect("no port is left to Prometheus")
    }

    /// One that listens; `None` where somebody else took the port that was found for it, since it cannot say which port it got when asked for
    /// any.
    fn listening(dir: &Path, config: &Path) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.join("tsdb").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus: run tests/run, which installs it");
        let mut started = Self {
            child,
            url: format!("http://{address}"),
        };
        let answers = support::answered(|| {
            if !started.ask("vector(1)").is_empty() {
                return Ok(true);
            }
            match started.child.try_wait().unwrap() {
                Some(_) => Ok(false),
                None => Err("Prometheus does not answer".to_owned()),
            }
        });
        answers.then_some(started)
    }

    /// What it answers to a query: the value of each series.
    pub(crate) fn ask(&self, query: &str) -> Vec<f64> {
        let encoded: String = query
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let path = format!("/api/v1/query?query={encoded}");
        let request = format!("GET {path} HTTP/1.0\r\nHost: a\r\n\r\n");
        let Ok(mut stream) = std::net::TcpStream::connect(support::http::addr(&self.url)) else {
            return Vec::new();
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        let Some((_, body)) = answer.split_once("\r\n\r\n") else {
            return Vec::new();
        };
        let Ok(document) = serde_json::from_str::<Value>(body) else {
            return Vec::new();
        };
        let series = document["data"]["result"].as_array();
        series
            .into_iter()
            .flatten()
            .map(|each| each["value"][1].as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// Waits until a query has one answer, and it is `value`.
    pub(crate) fn wait_for(&self, query: &str, value: f64) {
        support::answered(|| {
            let answer = self.ask(query);
            match answer == [value] {
                true => Ok(()),
                false => Err(format!("{query} is {answer:?} and not {value}")),
            }
        });
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
