"use strict";
// What the replay report draws.
(() => {
  const { data, chart, time, decades, histogram, short, shortMs, percent } = charts;
  const names = data.targets;
  // Production itself is drawn as what the others are held against.
  const look = (target) => (target === data.reference ? { target: -1, dash: [6, 4] } : { target });
  const overTime = (key, extra = {}) => names.map((name, target) => ({
    label: extra.suffix ? `${name} ${extra.suffix}` : name, of: target, ...look(target), ...extra,
    x: data.timelines[target].map((w) => w.t_s),
    y: data.timelines[target].map((w) => (w[key] == null ? null : w[key] * (extra.scale || 1))),
  }));
  const widths = data.timelines.map((t) => (t.length > 1 ? t[1].t_s - t[0].t_s : 1));
  const perSecond = (key, extra = {}) => overTime(key, extra).map((s) => ({ ...s, y: s.y.map((v) => (v == null ? null : v / widths[s.of])) }));

  // A percentile axis that gives the tail its room: P90, P99 and P99.9 stand equally far apart.
  const nines = (q) => -Math.log10(1 - q);
  const curve = (key) => data.charts.targets.map((t, target) => ({
    label: names[target], ...look(target), x: (t.curves[key] || []).map(([q]) => nines(q)), y: (t.curves[key] || []).map(([, v]) => v),
  }));
  const percentiles = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];
  const byPercentile = {
    log: true, show: shortMs, xLabel: "percentile",
    xSplits: (u) => percentiles.map(nines).filter((v) => v <= u.scales.x.max + 0.01),
    showX: (v) => `P${+(100 * (1 - 10 ** -v)).toFixed(Math.max(0, Math.ceil(v) - 2) + (v > 2.01 ? 0 : 0))}`,
  };
  const histograms = (key) => data.charts.targets.map((t, target) => ({ label: names[target], ...look(target), ...histogram(t.buckets[key] || []) }));
  const latencies = { ...decades(shortMs), xLabel: "latency", show: percent };

  const replays = (series) => series.filter((s) => s.target >= 0);
  const spans = data.spans.filter((_, target) => target !== data.reference);
  const ends = spans.map((s) => s.prelude_s + s.measured_s);
  const prelude = Math.max(0, ...spans.map((s) => s.prelude_s));
  const sent = Math.max(...ends), ended = Math.max(...spans.map((s, i) => ends[i] + s.drain_s));
  const shades = [[0, prelude, "prelude"], [sent, ended, "drain"]].filter(([from, to]) => to > from);
  const changed = (metric, show) => data.changes.flatMap((all, target) => all
    .filter((c) => c.metric === metric && target !== data.reference)
    .map((c) => [c.t_s, `${show(c.before)} → ${show(c.after)}`, target]));

  charts.page(() => {
    const along = { ...time, shades };
    const ms = { ...along, show: shortMs };
    chart("ttft-time", [...overTime("ttft_p99_ms"), ...overTime("ttft_p50_ms", { thin: true, suffix: "median" })], { ...ms, marks: changed("ttft_p50_ms", shortMs) });
    chart("e2e-time", [...overTime("e2e_p99_ms"), ...overTime("e2e_p50_ms", { thin: true, suffix: "median" })], { ...ms, marks: changed("e2e_p50_ms", shortMs) });
    chart("load-time", overTime("in_flight"), along);
    chart("sent-time", [...perSecond("sent"), ...perSecond("failed", { dash: [2, 4], suffix: "failed" })], along);
    chart("tokens-time", overTime("output_tokens_per_s"), { ...along, show: short, marks: changed("output_tokens_per_s", short) });
    chart("vram-time", overTime("vram_used_bytes", { scale: 1 / 2 ** 30 }), { ...along, show: (v) => `${+v.toPrecision(4)} GiB` });
    for (const key of ["ttft", "e2e", "tpot", "itl", "stall"]) chart(`${key}-curve`, curve(key), byPercentile);
    for (const key of ["ttft", "e2e"]) chart(`${key}-hist`, histograms(key), latencies);
    chart("lateness-curve", replays(curve("lateness")), byPercentile);
    chart("lateness-time", replays(overTime("lateness_max_ms")), ms);
  });
})();
