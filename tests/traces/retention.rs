//! Which files a recorder keeps, and what of the wall clock.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::support::wire::metric_reaches;
use super::support::{RECORD, Server, reenact, stdout_of};
use super::{exchange, header, names, serve, upstream, write};
use reenact::trace::Trace;

fn begin(upstream: &str, dir: &Path, args: &[&str]) -> (Server, String) {
    let mut recorder = Server::recorder(upstream, dir, args);
    let admin = recorder.wait_for_url("admin on ");
    (recorder, admin)
}

/// Makes exchanges, each of which fills a file.
fn fill(recorder: &Server, admin: &str, files: u64) {
    for number in 1..=files {
        serve(&recorder.url);
        metric_reaches(admin, "reenact_recorded_total", number);
    }
}

#[test]
fn the_oldest_files_go_and_the_current_and_strangers_never() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = [
        "trace-notes.rt",
        "other-000001.rt",
        "trace-000002.rt.partial",
        "readme",
    ];
    for name in foreign {
        std::fs::write(dir.path().join(name), [0; 5000]).unwrap();
    }
    let keep = ["--rotate-size", "1", "--keep-size", "1"];
    let (mut recorder, admin) = begin(&upstream(), dir.path(), &keep);
    fill(&recorder, &admin, 4);
    recorder.wait_for("removed an old trace file");
    assert!(recorder.terminate().0.success());
    let left: Vec<_> = names(dir.path())
        .into_iter()
        .filter(|name| !foreign.contains(&name.as_str()))
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].as_str() > "trace-000002.rt", "{left:?}");
    assert!(Trace::open(&[dir.path().join(&left[0])]).is_ok());
    assert_eq!(names(dir.path()).len(), foreign.len() + 1);
}

#[test]
fn files_go_by_age_at_the_start_and_another_recorders_current_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = upstream();
    let (first, _) = begin(&upstream, dir.path(), &[]);
    let old = |name: &str| {
        let path = write(&dir.path().join(name), &header(1), [exchange(0, [])]);
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let then = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
        file.set_modified(then).unwrap();
    };
    old("trace-000002.rt");
    old("trace-000003.rt");
    old("elsewhere-000001.rt");
    let young = dir.path().join("trace-000004.rt");
    write(&young, &header(1), [exchange(0, [])]);
    let current = dir.path().join("trace-000001.rt");
    let then = SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
    let file = std::fs::File::options().write(true).open(&current).unwrap();
    file.set_modified(then).unwrap();
    // From the environment, as any option.
    let second = Server::launch(
        reenact(RECORD)
            .args(["--upstream", &upstream, "--trace-dir"])
            .arg(dir.path())
            .env("REENACT_KEEP_AGE", "24h"),
    );
    let left = [
        "elsewhere-000001.rt",
        "trace-000001.rt",
        "trace-000004.rt",
        "trace-000005.rt",
    ];
    assert_eq!(names(dir.path()), left);
    assert!(first.terminate().0.success());
    assert!(second.terminate().0.success());
}

#[test]
fn the_wall_clock_is_kept_only_where_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = upstream();
    let epoch_of = |dir: &Path, configure: &dyn Fn(&mut std::process::Command)| {
        let mut command = reenact(RECORD);
        command
            .args(["--upstream", &upstream, "--trace-dir"])
            .arg(dir);
        configure(&mut command);
        let recorder = Server::launch(&mut command);
        serve(&recorder.url);
        assert!(recorder.terminate().0.success());
        let json = stdout_of(["inspect".as_ref(), "--json".as_ref(), dir.as_os_str()]);
        let at_us = super::support::exchanges(dir)[0]["at_us"].as_u64().unwrap();
        let trace = Trace::open(&[dir.to_owned()]).unwrap();
        let epoch_us = trace.header().epoch_unix_us;
        assert_eq!(
            json.contains("\"epoch_unix_us\""),
            epoch_us.is_some(),
            "{json}"
        );
        epoch_us.map(|epoch_us| epoch_us + at_us)
    };
    assert_eq!(epoch_of(&dir.path().join("never"), &|_| {}), None);
    let began = SystemTime::now();
    let config = dir.path().join("reenact.toml");
    std::fs::write(&config, "[record]\nkeep-wall-clock = true\n").unwrap();
    let ways: [&dyn Fn(&mut std::process::Command); 3] = [
        &|command| _ = command.arg("--keep-wall-clock"),
        &|command| _ = command.env("REENACT_KEEP_WALL_CLOCK", "true"),
        &|command| _ = command.arg("--config").arg(&config),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let arrived_us = epoch_of(&dir.path().join(number.to_string()), way).unwrap();
        let arrived = SystemTime::UNIX_EPOCH + Duration::from_micros(arrived_us);
        let (after, before) = (began - Duration::from_secs(1), SystemTime::now());
        assert!(arrived >= after && arrived <= before + Duration::from_secs(1));
    }
    // Two of them are on one clock.
    let out = dir.path().join("all.rt");
    stdout_of([
        "trace".as_ref(),
        "merge".as_ref(),
        dir.path().join("0").as_os_str(),
        dir.path().join("1").as_os_str(),
        "-o".as_ref(),
        out.as_os_str(),
    ]);
    let merged = super::support::exchanges(&out);
    let apart_us = merged[1]["at_us"].as_u64().unwrap() - merged[0]["at_us"].as_u64().unwrap();
    assert!(u128::from(apart_us) < began.elapsed().unwrap().as_micros());
}
