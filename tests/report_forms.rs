//! Every form that a result is shown in, of documents that are made up here: a snapshot of each text, and the page in a real browser.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "report_forms/documents.rs"]
mod documents;
mod support;

use std::path::Path;

use reenact::report::{Charts, ResultDirectory, ResultDocument, TargetCharts, summary};
use support::browser::{self, Page};

/// The renderings of a document, each held to its snapshot; and the page.
fn forms(name: &str, (document, charts): &(ResultDocument, Vec<TargetCharts>)) -> String {
    let terminal = anstream::adapter::strip_str(&summary(document)).to_string();
    insta::assert_snapshot!(format!("{name}_terminal"), terminal);
    let dir = tempfile::tempdir().unwrap();
    let out = ResultDirectory::create(dir.path()).unwrap();
    let charts = Charts {
        targets: charts.clone(),
    };
    out.write(document, &charts, &[]).unwrap();
    let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
    insta::assert_snapshot!(format!("{name}_markdown"), read("summary.md"));
    insta::assert_snapshot!(format!("{name}_junit"), read("junit.xml"));
    hold_to_schema(&dir.path().join("result.json"));
    read("report.html")
}

fn hold_to_schema(result: &Path) {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/result.schema.json");
    let validate = "import json, jsonschema, sys; jsonschema.validate(json.load(open(sys.argv[1])), json.load(open(sys.argv[2])))";
    let output = support::python()
        .args(["-c", validate])
        .arg(result)
        .arg(schema)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Opens a page wide and light, and narrow and dark: nothing on the console, nothing wider than the window, and every picture told in
/// words.
fn sound(html: &str, sections: &[&str], pictures: usize) {
    // The frame is as narrow as a phone; a window of Chromium's cannot be.
    const NARROW: &str = r#"<!doctype html><body style="margin:0"><iframe id="frame" style="border:0;width:420px;height:3000px"></iframe><pre id="probe">{}</pre><pre id="told"></pre><script>
addEventListener("load", () => { const inner = document.getElementById("frame").contentDocument; const root = inner.documentElement;
  const wide = [...inner.querySelectorAll("main *")].filter((e) => !e.closest(".scroll") && e.getBoundingClientRect().right > root.clientWidth + 1);
  document.getElementById("told").textContent = root.scrollWidth <= root.clientWidth && !wide.length ? "fits" : `scrolls ${root.scrollWidth} in ${root.clientWidth}; beyond: ${wide.map((e) => e.outerHTML.slice(0, 80)).join(" ")}`; });
</script></body>"#;
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    std::fs::write(&page, html).unwrap();
    let light = [
        "--window-size=1280,1000",
        "--blink-settings=preferredColorScheme=1",
    ];
    let wide = browser::open_with(&page, &light);
    let dark = [
        "--window-size=500,1000",
        "--blink-settings=preferredColorScheme=0",
    ];
    for page in [&wide, &browser::open_with(&page, &dark)] {
        drawn(page, sections, pictures);
    }
    let framed = dir.path().join("framed.html");
    let escaped = html.replace('&', "&amp;").replace('"', "&quot;");
    let narrow = NARROW.replace("<iframe ", &format!("<iframe srcdoc=\"{escaped}\" "));
    std::fs::write(&framed, narrow).unwrap();
    let narrow = browser::open_with(&framed, &dark);
    assert_eq!(narrow.console, "");
    assert!(
        narrow.dom.contains("<pre id=\"told\">fits</pre>"),
        "{}",
        narrow.dom.rsplit_once("<pre id=\"told\">").unwrap().1
    );
}

fn drawn(page: &Page, sections: &[&str], pictures: usize) {
    assert_eq!(page.console, "");
    let (content, _scripts) = page.dom.split_once("</main>").unwrap();
    for id in sections {
        assert!(content.contains(&format!("<h2 id=\"{id}\"")), "{id}");
    }
    for (id, colours) in &page.charts {
        assert!(*colours > 3, "{id} is blank");
    }
    let inline = content.matches("<svg class=\"plane\" viewBox=").count();
    assert_eq!(inline, pictures);
    let all =
        content.matches("<canvas").count() + inline + content.matches("class=\"shift\"").count();
    let told = content.matches("role=\"img\" aria-label=\"").count();
    assert_eq!(told, all, "every chart says in words what it shows");
    assert!(!content.contains("aria-label=\"\"") && !content.contains("NaN"));
}

#[test]
fn several_runs_of_two_targets() {
    let document = documents::runs();
    let html = forms("runs", &document);
    // The median of TTFT, TPOT and E2E, run by run.
    sound(&html, &["runs", "comparison", "over-time"], 3);
    // In the order of the schedule; and a name is text, not markup.
    let order = "aria-label=\"a, b&#60;i&#62;, b&#60;i&#62;, a, a, b&#60;i&#62; (abba)\"";
    assert!(html.contains(order) && html.contains("b&#60;i&#62; is saturated: in runs 1, 2, 3: "));
    assert!(!html.contains("b<i>"));
}

#[test]
fn a_search_for_the_limit() {
    let html = forms("limit", &documents::limit());
    // TTFT, goodput and failed requests over the load.
    sound(&html, &["loads"], 3);
    for verdict in ["met", "missed", "undecided", "saturated", "invalid"] {
        assert!(
            html.contains(&format!("<td class=\"outcome\">{verdict}</td>")),
            "{verdict}"
        );
    }
    assert!(html.contains("allowed: 100 ms") && html.contains(">limit 40<"));
}

#[test]
fn a_measurement_that_cannot_be_believed_says_so_first() {
    let html = forms("invalid", &documents::invalid());
    sound(&html, &["over-time", "fidelity"], 0);
    let terminal = summary(&documents::invalid().0);
    let (why, table) = (
        terminal.find("Not valid").unwrap(),
        terminal.find("TTFT p50").unwrap(),
    );
    assert!(why < table);
    // What makes it invalid before what is merely to be known, and each once.
    let fidelity = &html[html.find("id=\"fidelity\"").unwrap()..];
    let at = |what: &str| fidelity.find(what).unwrap();
    let (reason, known, remark) = (
        at("sends were"),
        at("Worth knowing:"),
        at("the trace lacks"),
    );
    assert!(at("Not valid, because:") < reason && reason < known && known < remark);
    assert!(!html[..html.find("id=\"figures\"").unwrap()].contains("the trace lacks"));
}
