//! Every form that a result is shown in, of documents that are made up here: a snapshot of each text, and the page in a real browser.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "report_forms/beside.rs"]
mod beside;
#[path = "report_forms/documents.rs"]
mod documents;
mod support;

use std::path::Path;

use reenact::report::{Charts, ResultDirectory, ResultDocument, TargetCharts, summary};
use support::browser::{self, Page};

/// All that a replay would leave of a document.
fn rendered((document, charts): &(ResultDocument, Vec<TargetCharts>)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let charts = Charts {
        targets: charts.clone(),
    };
    let out = ResultDirectory::create(dir.path()).unwrap();
    out.write(document, &charts, &[], None).unwrap();
    dir
}

/// The renderings of a document, each held to its snapshot; and the page.
fn forms(name: &str, document: &(ResultDocument, Vec<TargetCharts>)) -> String {
    let terminal = anstream::adapter::strip_str(&summary(&document.0)).to_string();
    insta::assert_snapshot!(format!("{name}_terminal"), terminal);
    let dir = rendered(document);
    let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
    insta::assert_snapshot!(format!("{name}_markdown"), read("summary.md"));
    insta::assert_snapshot!(format!("{name}_junit"), read("junit.xml"));
    hold_to_schema(&dir.path().join("result.json"));
    read("report.html")
}

/// The page of the result of what was seen beside the requests, asked by a script.
fn asked(script: &str) -> serde_json::Value {
    let dir = rendered(&beside::beside());
    let page = browser::ask(&dir.path().join("report.html"), &[], script);
    // Chromium has advice for scripts that read pixels, which are the tests' own.
    let advice = |line: &&str| line.contains("willReadFrequently");
    let said: Vec<_> = page.console.lines().filter(|line| !advice(line)).collect();
    assert_eq!(said, [""; 0]);
    page.told
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
    // Whose figures are whose, and a target has its colour in every picture.
    let compared = &html[html.find("id=\"comparison\"").unwrap()..];
    let heads = "<th scope=\"col\">a</th><th scope=\"col\">b&#60;i&#62;</th><th scope=\"col\">change (95 %)</th>";
    assert!(compared.contains(heads) && !compared.contains("This target"));
    let shift = "<figure class=\"t1\"><figcaption>E2E: b&#60;i&#62; against a ";
    assert!(compared.contains(shift), "{compared}");
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

#[test]
fn a_sweep_with_its_knee() {
    let html = forms("sweep", &documents::sweep());
    // TTFT and E2E over the load.
    sound(&html, &["loads"], 2);
    let mark = "<text class=\"knee t0\"";
    assert_eq!(
        html.matches("<line class=\"knee t0\"").count(),
        2,
        "one in each"
    );
    assert!(html.contains(mark) && html.contains(">knee 40<"));
    assert!(html.contains("A dotted line down: the knee."));
}

#[test]
fn memory_and_quality_are_shown_beside_the_requests() {
    let document = beside::beside();
    let html = forms("beside", &document);
    sound(&html, &["quality", "over-time", "against-load"], 0);
    let page = browser::open(&rendered(&document).path().join("report.html"));
    for id in ["vram-time", "vram-load", "kv-time", "kv-load"] {
        let colours = page.charts.get(id);
        assert!(colours.is_some_and(|colours| *colours > 3), "{id}");
    }
    let place = |id: &str| html.find(&format!("<h2 id=\"{id}\"")).unwrap();
    let quality = &html[place("quality")..place("over-time")];
    assert!(quality.contains("4 tests worsened under load"), "{quality}");
    assert!(quality.contains("<li>test 4, prompt 1, &#60;m&#62;</li>"));
    assert!(quality.contains("1 test improved under load"));
    assert!(quality.contains("<code>contains</code>") && quality.contains("(n = 12)"));
}

#[test]
fn where_memory_runs_out_is_drawn() {
    let (document, _) = beside::beside();
    let memory = document.targets[1].memory.as_ref().unwrap();
    let told = memory.vram.as_ref().unwrap();
    let full = told.in_flight_tokens.unwrap();
    assert!(full > 1.2 * told.seen_tokens && told.ci95.is_some());
    // The last series: the second target's line, dashed, drawn out to where it is full.
    let seen = asked(&format!(
        "const beyond = Array.from({{ length: 30 }}, (_, i) => {full} * (0.9 + i / 400));
         return {{ max: plot('vram-load').scales.x.max, along: beyond.some((x) => inked('vram-load', 4, x)) }};"
    ));
    assert!(seen["max"].as_f64().unwrap() >= full, "{seen}");
    assert_eq!(seen["along"], true);
}

#[test]
fn what_was_not_measured_is_a_gap_and_another_series_time_is_none() {
    let seen = asked(
        "const at = (series) => [12.5, 13.5, 15.5, 17, 18, 20.5, 22, 23.5, 24.5].map((x) => inked('vram-time', series, x));
         return { stalls: at(1), steady: at(2) };",
    );
    // Windows lie at their beginnings. The one at 18 s is alone; and the other target's are twice as long: it has none at 17 s.
    let stalls = [true, false, false, false, true, false, false, true, true];
    let steady = [true; 9];
    assert_eq!(seen["stalls"], serde_json::json!(stalls));
    assert_eq!(seen["steady"], serde_json::json!(steady));
}

#[test]
fn no_label_of_an_axis_is_cut_off() {
    // A large GPU that fills a little: five digits and the unit.
    let seen = asked(
        "plot('vram-time').setScale('y', { min: 68.71, max: 68.79 });
         await settled();
         const { ctx, axes } = plot('vram-time');
         const labels = axes[1]._values;
         ctx.font = '12px system-ui';
         return { labels, widest: Math.max(...labels.map((label) => ctx.measureText(label).width)), room: axes[1]._size };",
    );
    let number = |key: &str| seen[key].as_f64().unwrap();
    assert!(seen.to_string().contains("68.72 GiB"), "{seen}");
    assert!(number("widest") + 5.0 <= number("room"), "{seen}");
}

#[test]
fn percentiles_have_their_intervals_and_every_latency_its_distribution() {
    let (document, charts) = beside::beside();
    let summary = &document.targets[0].latency["ttft_ms"];
    let point = charts[0].curves["ttft"]
        .iter()
        .find(|one| (one.share - 0.9).abs() < 1e-9);
    assert_eq!(point.unwrap().ci95, summary.p90_ci95);
    for latency in ["ttft", "itl", "tpot", "e2e"] {
        assert!(
            charts[0].curves[latency]
                .iter()
                .all(|one| one.ci95.is_some()),
            "{latency}"
        );
        assert!(!charts[0].buckets[latency].is_empty(), "{latency}");
    }
    // Above the last percentile's value there is nothing but its interval, which is open.
    let seen = asked(
        "const shaded = ['ttft', 'itl', 'tpot', 'e2e'].map((name) => {
           const { ctx, bbox, data, valToPos } = plot(`${name}-curve`);
           const at = Math.round(valToPos(data[0][data[0].length - 1], 'x', true)) - 3;
           const alpha = ctx.getImageData(at, bbox.top + 5, 1, 1).data[3];
           return alpha > 0 && alpha < 128;
         });
         const drawn = ['ttft', 'itl', 'tpot', 'e2e'].map((name) => document.querySelectorAll(`#${name}-hist canvas`).length);
         plot('ttft-curve').setCursor({ left: 40, top: 40 });
         await settled();
         return { shaded, drawn, legend: document.querySelector('#ttft-curve .u-legend').textContent };",
    );
    assert_eq!(seen["shaded"], serde_json::json!([true, true, true, true]));
    assert_eq!(seen["drawn"], serde_json::json!([1, 1, 1, 1]));
    let legend = seen["legend"].as_str().unwrap();
    assert!(
        legend.contains(" ms (") && legend.contains(" – "),
        "{legend}"
    );
    // What the generator did is no sample of anything, and several runs together have no interval of this kind.
    assert!(
        charts[0].curves["lateness"]
            .iter()
            .all(|one| one.ci95.is_none())
    );
    let (_, charts) = documents::runs();
    let mut points = charts
        .iter()
        .flat_map(|target| target.curves.values().flatten());
    assert!(points.all(|one| one.ci95.is_none()));
}

#[test]
fn charts_zoom_by_keyboard_and_mouse_and_those_of_one_axis_together() {
    let seen = asked(
        "const now = () => ['ttft-time', 'vram-time', 'sent-time', 'ttft-curve'].map((id) => { const { min, max } = plot(id).scales.x; return [min, max]; });
         const told = { whole: now() };
         const place = document.getElementById('ttft-time');
         const press = async (key) => { place.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })); await settled(); return now(); };
         place.focus();
         told.focus = document.activeElement === place;
         told.nearer = await press('+');
         told.right = await press('ArrowRight');
         told.back = await press('0');
         const over = place.querySelector('.u-over'), box = over.getBoundingClientRect();
         const mouse = async (type, share, on = over) => { on.dispatchEvent(new MouseEvent(type, { bubbles: true, button: 0, buttons: 1, movementX: 9,
           clientX: box.left + share * box.width, clientY: box.top + box.height / 2 })); await settled(); return now(); };
         await mouse('mousemove', 0.25); await mouse('mousedown', 0.25); await mouse('mousemove', 0.5);
         told.dragged = await mouse('mouseup', 0.5, document);
         told.whole_again = await mouse('dblclick', 0.5);
         return told;",
    );
    let told = |when: &str| -> [(f64, f64); 4] {
        serde_json::from_value(seen[when].clone()).unwrap_or_else(|_| panic!("{seen}"))
    };
    let whole = told("whole");
    let (from, to) = whole[0];
    let quarter = (to - from) / 4.0;
    assert_eq!(seen["focus"], true);
    for (when, from, to) in [
        ("nearer", from + quarter, to - quarter),
        ("right", from + quarter * 1.5, to - quarter * 0.5),
        ("back", from, to),
        ("dragged", from + quarter, to - 2.0 * quarter),
        ("whole_again", from, to),
    ] {
        let ranges = told(when);
        let near = |a: f64, b: f64| (a - b).abs() < quarter / 10.0;
        assert!(
            near(ranges[0].0, from) && near(ranges[0].1, to),
            "{when}: {ranges:?}"
        );
        assert_eq!(
            (ranges[0], ranges[0]),
            (ranges[1], ranges[2]),
            "{when}: one axis"
        );
        assert_eq!(ranges[3], whole[3], "{when}: another axis");
    }
}

#[test]
fn a_page_prints_with_its_charts() {
    let dir = rendered(&beside::beside());
    let page = dir.path().join("report.html");
    let charts = browser::open(&page).charts.len();
    let pdf = browser::print(&page);
    assert!(pdf.starts_with(b"%PDF-"));
    let count = |what: &[u8]| pdf.windows(what.len()).filter(|at| at == &what).count();
    // A canvas is a picture with a mask, since its ground is clear.
    assert!(count(b"/SMask") >= charts, "{charts} charts");
}
