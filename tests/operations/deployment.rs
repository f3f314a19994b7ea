//! What is shipped for systemd and Kubernetes, judged by their own tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn analyze(arguments: &[&str], units: &[&Path]) -> String {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .args(units)
        .env("SYSTEMD_LOG_LEVEL", "info")
        .output()
        .expect("systemd-analyze: run tests/run, which installs systemd");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    said.into_owned()
}

/// The units as they would be installed, with the binary that was just built, and the drop-in where asked for.
fn installed(dir: &Path, drop_in: bool) -> [PathBuf; 2] {
    let units = Path::new(ROOT).join("systemd");
    let paths = ["reenact-record.service", "reenact-record.socket"].map(|name| {
        let text = std::fs::read_to_string(units.join(name)).unwrap();
        let here = text.replace("/usr/bin/reenact", env!("CARGO_BIN_EXE_reenact"));
        std::fs::write(dir.join(name), here).unwrap();
        dir.join(name)
    });
    if drop_in {
        let below = dir.join("reenact-record.service.d");
        std::fs::create_dir(&below).unwrap();
        std::fs::copy(units.join("drop-ins/nvml.conf"), below.join("nvml.conf")).unwrap();
    }
    paths
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    for drop_in in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let units = installed(dir.path(), drop_in);
        let said = analyze(&["verify"], &[&units[0], &units[1]]);
        assert!(!said.contains("reenact"), "{said}");
    }
}

#[test]
fn the_service_is_hardly_exposed() {
    let service = Path::new(ROOT).join("systemd/reenact-record.service");
    // The threshold is in tenths.
    let said = analyze(
        &["security", "--offline=true", "--no-pager", "--threshold=15"],
        &[&service],
    );
    for right in ["User=/DynamicUser=", "CapabilityBoundingSet=~CAP_SYS_ADMIN"] {
        let line = said.lines().find(|line| line.contains(right)).unwrap();
        assert!(line.starts_with('✓'), "{line}");
    }
}

#[test]
fn every_option_in_the_unit_and_the_manifest_is_one() {
    let unit = std::fs::read_to_string(Path::new(ROOT).join("systemd/reenact-record.service"));
    let unit = unit.unwrap();
    let of_unit = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="))
        .map(|line| line.replace("%S", "/var/lib"));
    let manifest = super::python()
        .arg(format!("{ROOT}/tests/operations/manifest.py"))
        .arg(format!("{ROOT}/deploy/kubernetes/sidecar.yaml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&manifest.stderr);
    assert!(manifest.status.success(), "{said}");
    let of_manifest = String::from_utf8(manifest.stdout).unwrap();
    let help = support::stdout_of(["record", "--help"]);
    for line in of_unit.chain(of_manifest.lines().map(str::to_owned)) {
        let (variable, _) = line.split_once('=').unwrap();
        let option = variable.strip_prefix("REENACT_").unwrap();
        let long = format!("--{} ", option.to_lowercase().replace('_', "-"));
        assert!(help.contains(&long), "{variable} is no option");
    }
}

#[test]
fn the_chart_and_the_manifests_are_sound_and_their_replays_are_taken() {
    let deploy = Path::new(ROOT).join("deploy");
    let output = super::python()
        .arg(format!("{ROOT}/tests/operations/chart.py"))
        .arg(deploy.join("helm/reenact"))
        .args(
            ["replay", "sidecar", "gate"]
                .map(|name| deploy.join(format!("kubernetes/{name}.yaml"))),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let replays = String::from_utf8(output.stdout).unwrap();
    assert_eq!(replays.lines().count(), 4, "{replays}");
    for line in replays.lines() {
        let args: Vec<String> = serde_json::from_str(line).unwrap();
        // All that is wrong with them is that there is no such trace here.
        let args = args.iter().map(|arg| match arg.as_str() {
            "s3://traces/llm/" => "nowhere.rt",
            arg => arg,
        });
        let output = support::reenact(args)
            .arg("--dry-run")
            .env("JOB_COMPLETION_INDEX", "0")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        assert!(said.contains("nowhere.rt"), "{line}: {said}");
    }
    let chart = std::fs::read_to_string(deploy.join("helm/reenact/Chart.yaml")).unwrap();
    let version = format!("appVersion: \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(chart.contains(&version), "{chart}");
}

#[test]
fn bash_reads_the_batch_script() {
    let script = Path::new(ROOT).join("deploy/slurm/replay.sbatch");
    let output = Command::new("bash").arg("-n").arg(script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
