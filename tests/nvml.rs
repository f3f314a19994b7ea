//! GPU memory through NVML, against a stand-in library that this test builds itself.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use reenact::measure::summarise_gpus;
use reenact::telemetry::{GpuAbsent, GpuSampler};
use serde_json::Value;
use support::traffic::short_requests;
use support::{Server, python, reenact, skipped};

const GIB: u64 = 1 << 30;

struct Standin {
    dir: tempfile::TempDir,
}

impl Standin {
    fn build() -> Self {
        Self::build_with(&[])
    }

    fn build_with(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let standin = Self { dir };
        standin.uses("0");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC"])
            .args(options)
            .arg("-o")
            .arg(standin.library())
            .arg(format!("-DSTANDIN=\"{}\"", standin.file().display()))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/nvml_standin/libnvidia-ml.c"
            ))
            .status()
            .unwrap();
        assert!(status.success());
        standin
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join("libnvidia-ml.so.1")
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("used")
    }

    fn uses(&self, word: &str) {
        let next = self.dir.path().join("next");
        std::fs::write(&next, word).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    /// Waits until the library has been asked `count` more times.
    fn asked(&self, count: u64) {
        self.grows_by(count, "used.reads");
    }

    /// Waits until it was tried `count` more times to open the library.
    fn opened(&self, count: u64) {
        self.grows_by(count, "used.opens");
    }

    fn grows_by(&self, count: u64, file: &str) {
        let reads = self.dir.path().join(file);
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let until = length(&reads) + count;
        let deadline = Instant::now() + Duration::from_secs(30);
        while length(&reads) < until {
            assert!(Instant::now() < deadline, "the library is no longer asked");
            std::thread::yield_now();
        }
    }

    fn start(&self) -> GpuSampler {
        GpuSampler::start(
            Some(self.library()),
            Instant::now(),
            Duration::from_millis(2),
        )
        .unwrap()
    }
}

#[test]
fn the_peak_and_the_growth_are_found() {
    let standin = Standin::build();
    standin.uses(&(10 * GIB).to_string());
    let sampler = standin.start();
    for step in 0..40 {
        standin.uses(&((10 + step) * GIB).to_string());
        standin.asked(2);
    }
    standin.uses(&(20 * GIB).to_string());
    standin.asked(2);
    let timeline = sampler.stop();
    let gpu = &summarise_gpus(&timeline)[0];
    assert_eq!(
        (gpu.source.as_str(), gpu.index, gpu.total_bytes),
        ("nvml", 0, 80 * GIB)
    );
    assert_eq!(gpu.name.as_deref(), Some("Stand-in GPU"));
    assert_eq!(
        (
            gpu.used_start_bytes,
            gpu.used_peak_bytes,
            gpu.used_end_bytes
        ),
        (10 * GIB, 49 * GIB, 20 * GIB)
    );
    assert!(
        gpu.growth_bytes_per_s.unwrap() > 0.0 && gpu.growth_ci95.unwrap().0 > 0.0,
        "{gpu:?}"
    );
    assert_eq!(gpu.state, None);
    assert!(timeline.used_between(0, u64::MAX).unwrap() == 49 * GIB);
}

#[test]
fn a_gpu_lost_in_mid_run_is_a_state_and_keeps_its_samples() {
    let standin = Standin::build();
    standin.uses(&GIB.to_string());
    let sampler = standin.start();
    standin.asked(3);
    standin.uses("lost");
    standin.asked(3);
    let gpu = summarise_gpus(&sampler.stop()).remove(0);
    assert!(gpu.state.unwrap().contains("the GPU was lost"));
    assert_eq!(gpu.used_peak_bytes, GIB);
}

#[test]
fn a_driver_slower_than_the_period_is_left_alone_between_samples() {
    let standin = Standin::build_with(&["-DSLOW_MS=40"]);
    let period = Duration::from_millis(20);
    let sampler = GpuSampler::start(Some(standin.library()), Instant::now(), period).unwrap();
    standin.asked(1);
    let began = Instant::now();
    standin.asked(10);
    let took = began.elapsed();
    drop(sampler.stop());
    let least = 9 * (Duration::from_millis(40) + period);
    assert!(took >= least, "asked again after no rest: {took:?}");
}

#[test]
fn a_driver_that_was_reloaded_is_opened_anew() {
    let standin = Standin::build();
    standin.uses(&GIB.to_string());
    let sampler = standin.start();
    standin.asked(2);
    standin.uses("unknown");
    standin.asked(1);
    standin.uses(&(3 * GIB).to_string());
    standin.asked(2);
    let gpu = summarise_gpus(&sampler.stop()).remove(0);
    assert_eq!(gpu.used_peak_bytes, 3 * GIB, "it was sampled again");
    assert!(gpu.state.is_some(), "and the gap is told");
}

#[test]
fn a_driver_that_is_gone_for_a_while_is_opened_when_it_is_back() {
    let standin = Standin::build();
    standin.uses(&GIB.to_string());
    let sampler = standin.start();
    standin.asked(2);
    standin.uses("gone");
    standin.opened(3);
    standin.uses(&(3 * GIB).to_string());
    standin.asked(2);
    let timeline = sampler.stop();
    let gpu = &summarise_gpus(&timeline)[0];
    assert_eq!(gpu.used_peak_bytes, 3 * GIB, "it was sampled again");
    let state = gpu.state.as_deref().unwrap();
    assert!(
        state.starts_with("no sample at ") && state.contains("driver"),
        "{state}"
    );
    // A second passes before each try.
    let samples = &timeline.gpus[0].samples;
    let gap = samples
        .windows(2)
        .max_by_key(|pair| pair[1].at_us - pair[0].at_us)
        .unwrap();
    let (from, to) = (gap[0].at_us, gap[1].at_us);
    assert!(to - from >= 3_000_000, "{gap:?}");
    assert_eq!(
        timeline.used_between(to - 100_000, to),
        None,
        "no figure of before"
    );
    assert_eq!(timeline.used_between(to, to + 1), Some(3 * GIB));
}

#[test]
fn a_run_may_end_while_the_driver_is_gone() {
    let standin = Standin::build();
    standin.uses(&GIB.to_string());
    let sampler = standin.start();
    standin.asked(2);
    standin.uses("gone");
    standin.opened(1);
    let gpu = summarise_gpus(&sampler.stop()).remove(0);
    assert_eq!((gpu.used_peak_bytes, gpu.used_end_bytes), (GIB, GIB));
    assert!(gpu.state.is_some());
}

#[test]
fn gpus_are_chosen_and_instances_stand_in_their_gpus_place() {
    let standin = Standin::build_with(&["-DFLEET"]);
    standin.uses(&GIB.to_string());
    let start = |chosen: &[&str]| {
        GpuSampler::start_chosen(
            Some(standin.library()),
            chosen.iter().map(ToString::to_string).collect(),
            Instant::now(),
            Duration::from_millis(2),
        )
    };
    let seen = |chosen: &[&str]| -> Vec<(u32, Option<u32>, u64)> {
        let gpus = summarise_gpus(&start(chosen).unwrap().stop());
        let seen = gpus
            .iter()
            .map(|gpu| (gpu.index, gpu.instance, gpu.used_peak_bytes / GIB));
        seen.collect()
    };
    let (whole, empty, used) = ((0, None, 1), (1, Some(0), 0), (1, Some(1), 5));
    assert_eq!(seen(&[]), [whole, empty, used]);
    assert_eq!(seen(&["0"]), [whole]);
    assert_eq!(seen(&["1"]), [empty, used]);
    assert_eq!(seen(&["MIG-00000001-stand-in"]), [used]);
    let gpu = summarise_gpus(&start(&["MIG-00000001-stand-in"]).unwrap().stop()).remove(0);
    // The second's memory is not told: it is no zero.
    assert_eq!(gpu.processes.len(), 1);
    let process = &gpu.processes[0];
    assert_eq!((process.pid, process.used_peak_bytes), (4242, 5 * GIB));
    assert_eq!(gpu.total_bytes, 40 * GIB);
    let GpuAbsent::NotThere { wanted, known } = start(&["0", "7"]).unwrap_err() else {
        panic!("there is no GPU 7");
    };
    assert!(
        wanted == "7" && known.contains("GPU-00000000-stand-in"),
        "{known}"
    );
}

#[test]
fn an_error_of_the_driver_is_told_of_its_gpu_with_its_instant() {
    let standin = Standin::build_with(&["-DFLEET", "-DEVENTS"]);
    standin.uses(&GIB.to_string());
    let began = Instant::now();
    let period = Duration::from_millis(2);
    let sampler = GpuSampler::start(Some(standin.library()), began, period).unwrap();
    standin.asked(2);
    let xids = standin.dir.path().join("used.xids");
    let before = began.elapsed();
    std::fs::write(&xids, "31\n79\n").unwrap();
    standin.asked(4);
    let gpus = summarise_gpus(&sampler.stop());
    let codes: Vec<u64> = gpus[0].xids.iter().map(|one| one.xid).collect();
    assert_eq!(codes, [31, 79], "each once");
    let first = &gpus[0].xids[0];
    assert!(
        (before.as_secs_f64()..began.elapsed().as_secs_f64()).contains(&first.t_s),
        "{first:?}"
    );
    assert_eq!(first.meaning.as_deref(), Some("a fault in a memory access"));
    let state = gpus[0].state.as_deref().unwrap();
    assert!(state.contains("the driver told Xid 31"), "{state}");
    assert!(gpus.iter().all(|gpu| gpu.xids_unwatched.is_none()));
    assert!(gpus[1..].iter().all(|gpu| gpu.xids.is_empty()));
}

#[test]
fn a_replay_tells_what_the_driver_reported_and_shows_when() {
    let standin = Standin::build_with(&["-DEVENTS"]);
    standin.uses(&GIB.to_string());
    let dir = standin.dir.path();
    std::fs::write(dir.join("used.xids"), "79\n79\n").unwrap();
    let sim = Server::sim(&["--profile", "fast"]);
    let out = dir.join("out");
    let output = reenact(["replay"])
        .arg(short_requests(dir, 40))
        .args(["--target", &format!("candidate={}", sim.url), "--gpu"])
        .arg(standin.library())
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let told = "Xid 79 (the GPU has fallen off the bus) on GPU 0 at ";
    assert!(said.contains(told), "{said}");
    assert!(said.contains(", 2 times in all"), "{said}");
    let result = std::fs::read(out.join("result.json")).unwrap();
    let result: Value = serde_json::from_slice(&result).unwrap();
    let xids = &result["targets"][0]["gpu"][0]["xids"];
    assert_eq!(
        (xids[0]["xid"].as_u64(), xids[1]["xid"].as_u64()),
        (Some(79), Some(79)),
        "{xids}"
    );
    let validate = "import json, jsonschema, sys; jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    let status = python()
        .args(["-c", validate])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/docs/result.schema.json"
        ))
        .arg(out.join("result.json"))
        .status()
        .unwrap();
    assert!(status.success());
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("GPU 0: Xid 79"), "a line down the chart");
}

#[test]
fn the_targets_processes_are_told_from_others() {
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap();
    if space != Path::new("pid:[4026531836]") {
        skipped("processes have numbers of their own in this container");
        return;
    }
    let standin = Standin::build();
    let dir = standin.dir.path();
    let sim = Server::sim(&["--profile", "fast"]);
    let over = Command::new("true")
        .spawn()
        .and_then(|mut child| child.wait().map(|_| child.id()));
    let pids = [sim.pid(), std::process::id(), over.unwrap()];
    std::fs::write(
        dir.join("used.pids"),
        pids.map(|pid| format!("{pid}\n")).concat(),
    )
    .unwrap();
    let output = reenact(["replay", "--json"])
        .arg(short_requests(dir, 20))
        .args(["--target", &sim.url, "--gpu"])
        .arg(standin.library())
        .output()
        .unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let listed = result["targets"][0]["gpu"][0]["processes"]
        .as_array()
        .unwrap();
    let of = |pid: u32| listed.iter().find(|one| one["pid"] == pid).unwrap();
    assert!(
        listed.iter().all(|one| one["used_peak_bytes"] == GIB),
        "{listed:#?}"
    );
    let engine = of(pids[0]);
    assert_eq!(
        (&engine["name"], &engine["of_target"]),
        (&"reenact".into(), &true.into())
    );
    let other = of(pids[1]);
    assert!(
        other["name"].as_str().unwrap().starts_with("nvml"),
        "{other}"
    );
    assert_eq!(other["of_target"], false);
    assert_eq!(of(pids[2]).as_object().unwrap().len(), 2, "it is over");
}

#[test]
fn a_driver_that_reports_no_errors_is_noted_and_sampled_all_the_same() {
    for (options, why) in [
        (&["-DREFUSES"][..], "not available on the target device"),
        (&[], "not NVML, or too old"),
    ] {
        let standin = Standin::build_with(options);
        standin.uses(&GIB.to_string());
        let sampler = standin.start();
        standin.asked(2);
        let gpu = summarise_gpus(&sampler.stop()).remove(0);
        assert_eq!((gpu.used_peak_bytes, gpu.state), (GIB, None));
        let noted = gpu.xids_unwatched.unwrap();
        assert!(noted.contains(why), "{noted}");
    }
}

#[test]
fn no_driver_and_a_foreign_library_are_absences() {
    let dir = tempfile::tempdir().unwrap();
    let start = |library: &Path| {
        GpuSampler::start(
            Some(library.to_owned()),
            Instant::now(),
            Duration::from_millis(2),
        )
        .unwrap_err()
    };
    assert!(matches!(
        start(&dir.path().join("none.so")),
        GpuAbsent::NoDriver(_)
    ));
    let source = dir.path().join("foreign.c");
    std::fs::write(&source, "int answer(void) { return 42; }\n").unwrap();
    let foreign = dir.path().join("foreign.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&foreign)
        .arg(&source)
        .status()
        .unwrap();
    assert!(status.success());
    let GpuAbsent::NoDriver(why) = start(&foreign) else {
        panic!("a GPU in a foreign library")
    };
    assert!(why.contains("not NVML"), "{why}");
}
