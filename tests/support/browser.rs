//! A page in a real browser: headless Chromium, without a network.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What a browser made of a page.
pub struct Page {
    /// The document after its scripts ran.
    pub dom: String,
    /// What they said on the console; empty where all went well.
    pub console: String,
    /// How many colours each chart's canvas has, by the id of its place. A blank one has 1.
    pub charts: BTreeMap<String, usize>,
}

/// Opens a page.
pub fn open(path: &Path) -> Page {
    open_with(path, &[])
}

/// Opens a page with more options for Chromium.
pub fn open_with(path: &Path, options: &[&str]) -> Page {
    // A canvas's pixels are in no dump of the document, so a script after the page's own counts their colours.
    let directory = tempfile::tempdir().unwrap();
    let probed = directory.path().join("page.html");
    let html = std::fs::read_to_string(path).unwrap();
    let (before, after) = html.rsplit_once("</body>").unwrap();
    std::fs::write(&probed, [before, PROBE, "</body>", after].concat()).unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--virtual-time-budget=4000",
            "--dump-dom",
        ])
        .args(options)
        .arg(format!(
            "--user-data-dir={}",
            directory.path().join("profile").display()
        ))
        .arg(format!("file://{}", probed.display()))
        .output()
        .expect("chromium is needed; tests/run installs it");
    let (dom, log) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    let said = log.lines().filter(|line| line.contains("CONSOLE"));
    let charts = dom.split_once("<pre id=\"probe\">");
    let (charts, _) = charts
        .and_then(|(_, rest)| rest.split_once("</pre>"))
        .unwrap_or_else(|| panic!("no page: {log}"));
    Page {
        console: said.collect::<Vec<_>>().join("\n"),
        charts: serde_json::from_str(charts).unwrap(),
        dom,
    }
}

const PROBE: &str = r#"<pre id="probe">{}</pre><script>addEventListener("load", () => {
  const found = {};
  for (const canvas of document.querySelectorAll("canvas")) {
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    found[canvas.closest(".chart").id] = new Set(pixels).size;
  }
  document.getElementById("probe").textContent = JSON.stringify(found);
});</script>"#;
