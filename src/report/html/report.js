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
  const curve = (key) => data.charts.targets.map((t, target) => {
    const points = t.curves[key] || [];
    return { label: names[target], ...look(target), x: points.map((p) => nines(p.share)), y: points.map((p) => p.ms), band: points.map((p) => p.ci95) };
  });
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

  const befell = data.memory_marks.flatMap((all, target) => all.map(([t, what]) => [t, what, target]));

  // Points of one thing over another, and (of memories) the line through them up to where it is full.
  const points = (of) => names.flatMap((name, target) => {
    const pairs = of(target).filter(([x, y]) => x != null && y != null).sort((a, b) => a[0] - b[0]);
    // uPlot wants each x once: those that stand on another move by less than a pixel's thousandth.
    const hair = (pairs.length ? pairs[pairs.length - 1][0] || 1 : 1) * 1e-9;
    return [{ label: name, ...look(target), dots: true, x: pairs.map(([x], i) => x + i * hair), y: pairs.map(([, y]) => y) }];
  });
  const windows = (key) => points((target) => data.timelines[target].map((w) => [w.in_flight, w[key]]));
  const against = (key) => {
    const dots = points((target) => (data.memories[target]?.points || []).map((p) => [p.in_flight_tokens, p[key] == null ? null : p[key] * 100]));
    const lines = names.flatMap((name, target) => {
      const told = data.memories[target]?.[key];
      if (told?.in_flight_tokens == null) return [];
      const to = told.in_flight_tokens;
      const at = (x) => 100 * Math.min(1, told.share_at_rest + told.share_per_token * x);
      return [{ label: `${name} line`, ...look(target), thin: true, x: [0, to * (1 + 1e-7)], y: [at(0), at(to)] }];
    });
    return [...dots, ...lines];
  };
  const boundaries = (key) => names.flatMap((_, target) => {
    const told = data.memories[target]?.[key];
    return told?.in_flight_tokens == null ? [] : [[told.in_flight_tokens, `full: ${short(told.in_flight_tokens)}`, target]];
  });
  const intervals = (key) => names.flatMap((_, target) => {
    const told = data.memories[target]?.[key];
    if (!told?.ci95 || told.ci95[0] == null) return [];
    return [[told.ci95[0], told.ci95[1] ?? told.in_flight_tokens * 2, "95 %"]];
  });

  charts.page(() => {
    const along = { ...time, shades, sync: "time" };
    const ms = { ...along, show: shortMs };
    chart("ttft-time", [...overTime("ttft_p99_ms"), ...overTime("ttft_p50_ms", { thin: true, suffix: "median" })], { ...ms, marks: changed("ttft_p50_ms", shortMs) });
    chart("e2e-time", [...overTime("e2e_p99_ms"), ...overTime("e2e_p50_ms", { thin: true, suffix: "median" })], { ...ms, marks: changed("e2e_p50_ms", shortMs) });
    chart("load-time", overTime("in_flight"), along);
    chart("sent-time", [...perSecond("sent"), ...perSecond("failed", { dash: [2, 4], suffix: "failed" })], along);
    chart("tokens-time", overTime("output_tokens_per_s"), { ...along, show: short, marks: changed("output_tokens_per_s", short) });
    chart("vram-time", overTime("vram_used_bytes", { scale: 1 / 2 ** 30 }), { ...along, fit: true, show: (v) => `${+v.toPrecision(4)} GiB`, marks: befell });
    chart("kv-time", overTime("kv_cache", { scale: 100 }), { ...along, show: percent });
    chart("waiting-time", [...overTime("waiting"), ...overTime("preemptions", { dash: [2, 4], suffix: "preemptions" })], { ...along, show: short });
    for (const key of ["ttft", "e2e"]) chart(`${key}-load`, windows(`${key}_p50_ms`), { show: shortMs, xLabel: "in flight, mean", showX: short });
    for (const key of ["kv_cache", "vram"]) {
      const over = { show: percent, xLabel: "tokens in flight", showX: short, marks: boundaries(key), shades: intervals(key) };
      chart(`${key === "vram" ? "vram" : "kv"}-load`, against(key), over);
    }
    for (const key of ["ttft", "e2e", "tpot", "itl", "stall"]) chart(`${key}-curve`, curve(key), byPercentile);
    for (const key of ["ttft", "itl", "tpot", "e2e"]) chart(`${key}-hist`, histograms(key), latencies);
    chart("lateness-curve", replays(curve("lateness")), byPercentile);
    chart("lateness-time", replays(overTime("lateness_max_ms")), ms);
  });
})();
