"use strict";
// What the page of a trace's traffic draws.
(() => {
  const { data, chart, time, decades, histogram, short, shortMs, percent } = charts;
  const { timeline, dispersion, histograms, quantiles } = data;
  const words = (name) => name.replaceAll("_", " ");

  // A window's value holds from its beginning to its end, so the last one needs an end.
  const steps = (values, scale = 1) => ({
    steps: true,
    x: [...values, 0].map((_, i) => i * timeline.window_s),
    y: [...values, values[values.length - 1]].map((v) => (v == null ? null : v * scale)),
  });
  const perSecond = (values) => steps(values, 1 / timeline.window_s);
  // Six colours tell six series apart: of more, the smallest are drawn as one.
  const most = 6;
  const stackOf = (columns) => {
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    const named = Object.entries(columns).sort(([, a], [, b]) => sum(b) - sum(a));
    const rest = named.splice(named.length > most ? most - 1 : most);
    if (rest.length) named.push(["others", rest[0][1].map((_, i) => sum(rest.map(([, values]) => values[i])))]);
    return named.map(([name, values], target) => ({ label: words(name), target, ...perSecond(values) }));
  };
  const marks = (q) => (q ? [[Math.log10(Math.max(q.p50, 1e-3)), "P50"], [Math.log10(Math.max(q.p90, 1e-3)), "P90"], [Math.log10(Math.max(q.p99, 1e-3)), "P99"]] : []);
  const distribution = (id, name, of, show, target) => {
    const buckets = histograms[name];
    if (!buckets) return;
    chart(id, [{ label: `share of ${of}`, target, ...histogram(buckets) }], { ...decades(show), xLabel: "at most", show: percent, marks: marks(quantiles[name]) });
  };

  charts.page(() => {
    chart("arrivals-time", stackOf(timeline.arrivals), { ...time, stack: true, show: (v) => `${short(v)}/s` });
    chart("tokens-time", [
      ...(timeline.prompt_tokens ? [{ label: "prompt tokens", target: 0, ...perSecond(timeline.prompt_tokens) }] : []),
      ...(timeline.output_tokens ? [{ label: "output tokens", target: 1, ...perSecond(timeline.output_tokens) }] : []),
    ], { ...time, show: (v) => `${short(v)}/s` });
    const x = dispersion.map((d) => Math.log10(d.window_s));
    chart("dispersion", [
      { label: "this trace", target: 0, points: true, x, y: dispersion.map((d) => (d.index > 0 ? d.index : null)) },
      { label: "Poisson", target: -1, dash: [4, 4], thin: true, x, y: x.map(() => 1), band: dispersion.map((d) => [d.poisson_95[0] || null, d.poisson_95[1]]) },
    ], { ...decades((v) => shortMs(v * 1000)), xLabel: "window", log: true });
    if (timeline.in_flight) {
      chart("in-flight-time", [
        { label: "mean", target: 0, area: true, ...steps(timeline.in_flight.mean) },
        { label: "peak", target: 1, thin: true, ...steps(timeline.in_flight.peak) },
      ], { ...time, show: short });
    }
    const { completed, ...failed } = timeline.outcomes;
    chart("failed-time", stackOf(failed), { ...time, stack: true, show: (v) => `${short(v)}/s` });
    distribution("prompt-tokens", "prompt_tokens", "prompts", short, 0);
    distribution("output-tokens", "output_tokens", "answers", short, 1);
    distribution("ttft", "ttft_ms", "streamed answers", shortMs, 0);
    distribution("gap", "gap_ms", "gaps", shortMs, 1);
    distribution("e2e", "e2e_ms", "completed exchanges", shortMs, 2);
    distribution("stall", "longest_stall_ms", "streamed answers", shortMs, 3);
    distribution("turns", "turns", "sessions", short, 0);
    distribution("think", "think_ms", "turns after the first", shortMs, 1);
  });
})();
