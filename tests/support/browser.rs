//! A page in a real browser: headless Chromium, without a network.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

/// What a browser made of a page.
pub struct Page {
    /// What the asking script gave back; null where none asked.
    pub told: serde_json::Value,
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
    ask(path, options, "return null;")
}

/// Opens a page and asks it by a script, the body of an asynchronous function: `plot(ID)` is the uPlot of a chart, `inked(ID, SERIES, X)`
/// whether that series' colour is anywhere above an x, and `settled()` resolves when what was done to the charts is drawn.
pub fn ask(path: &Path, options: &[&str], script: &str) -> Page {
    // A canvas's pixels are in no dump of the document, so a script after the page's own counts their colours.
    let directory = tempfile::tempdir().unwrap();
    let probed = directory.path().join("page.html");
    let html = std::fs::read_to_string(path).unwrap();
    let (before, after) = html.rsplit_once("</body>").unwrap();
    let before = before.replacen(DOCTYPE, &[DOCTYPE, CATCH].concat(), 1);
    let probe = PROBE.replace("SCRIPT", script);
    std::fs::write(
        &probed,
        [before.as_str(), &probe, "</body>", after].concat(),
    )
    .unwrap();
    let output = chromium(
        directory.path(),
        &[options, &["--dump-dom"]].concat(),
        &probed,
    );
    let (dom, log) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    let said = log.lines().filter(|line| line.contains("CONSOLE"));
    let probed = |id: &str| {
        let begins = format!("<pre id=\"{id}\">");
        let (_, rest) = dom.split_once(&begins)?;
        rest.split_once("</pre>").map(|(json, _)| json.to_owned())
    };
    let charts = probed("probe").unwrap_or_else(|| panic!("no page: {log}"));
    Page {
        console: said.collect::<Vec<_>>().join("\n"),
        charts: serde_json::from_str(&charts).unwrap(),
        told: serde_json::from_str(&probed("answer").unwrap()).unwrap(),
        dom,
    }
}

/// Prints a page: the bytes of its PDF.
pub fn print(path: &Path) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let pdf = directory.path().join("page.pdf");
    let to = format!("--print-to-pdf={}", pdf.display());
    let output = chromium(directory.path(), &[&to], path);
    std::fs::read(pdf).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn chromium(directory: &Path, options: &[&str], page: &Path) -> Output {
    Command::new("chromium")
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
        ])
        .args(options)
        .arg(format!(
            "--user-data-dir={}",
            directory.join("profile").display()
        ))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium is needed; tests/run installs it")
}

const DOCTYPE: &str = "<!doctype html>";

/// Keeps every plot that the page makes.
const CATCH: &str = r#"<script>{
  let made; window.plots = [];
  Object.defineProperty(window, "uPlot", { get: () => made, set: (real) => {
    made = Object.assign(function (...args) { const plot = new real(...args); plots.push(plot); return plot; }, real);
  } });
}</script>"#;

const PROBE: &str = r#"<pre id="probe">{}</pre><pre id="answer">null</pre><script>addEventListener("load", async () => {
  const found = {};
  for (const canvas of document.querySelectorAll("canvas")) {
    const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    found[canvas.closest(".chart").id] = new Set(pixels).size;
  }
  document.getElementById("probe").textContent = JSON.stringify(found);
  const plot = (id) => plots.find((one) => one.root.isConnected && one.root.closest(".chart").id === id);
  const settled = () => new Promise((done) => setTimeout(done, 50));
  const inked = (id, series, x) => {
    const { ctx, bbox, series: all, valToPos } = plot(id);
    const [r, g, b] = all[series].stroke().match(/\w\w/g).map((part) => parseInt(part, 16));
    const { data } = ctx.getImageData(Math.round(valToPos(x, "x", true)), bbox.top, 1, bbox.height);
    for (let i = 0; i < data.length; i += 4)
      if (data[i + 3] > 128 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 60) return true;
    return false;
  };
  try {
    document.getElementById("answer").textContent = JSON.stringify((await (async () => { SCRIPT })()) ?? null);
  } catch (error) { console.error(`asked: ${error.stack}`); }
});</script>"#;
