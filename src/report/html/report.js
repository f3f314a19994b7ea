"use strict";
// Draws the charts from the data island. Without scripts the tables above still say everything.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (i) => style(`--s${i % 6}`);
  const shortMs = (v) => (v >= 1000 ? `${+(v / 1000).toPrecision(3)} s` : v >= 0.1 || v === 0 ? `${+v.toPrecision(3)} ms` : `${+(v * 1000).toPrecision(2)} µs`);
  const plain = (v) => `${+v.toPrecision(3)}`;
  const drawn = [];

  // 1, 2 and 5 of every decade: the next of them below (-1) or above (1) a value, and all of them in a range.
  const round125 = (v, way) => {
    const steps = steps125(v / 10, v * 10);
    return way < 0 ? steps.filter((s) => s <= v * 1.001).pop() : steps.find((s) => s >= v * 0.999);
  };
  const steps125 = (min, max) => {
    const steps = [];
    for (let e = Math.floor(Math.log10(min)); e <= Math.ceil(Math.log10(max)); e++) for (const m of [1, 2, 5]) steps.push(+`${m}e${e}`);
    return steps.filter((s) => s >= min * 0.999 && s <= max * 1.001);
  };

  // Merges the x values of several [xs, ys] series into one uPlot table.
  const table = (series) => {
    const xs = [...new Set(series.flatMap(([x]) => x))].sort((a, b) => a - b);
    return [xs, ...series.map(([x, y]) => {
      const at = new Map(x.map((value, i) => [value, y[i]]));
      return xs.map((value) => at.get(value) ?? null);
    })];
  };

  const chart = (id, series, options) => {
    const place = document.getElementById(id);
    if (!place) return;
    const filled = series.filter((s) => s.y.some((v) => v != null));
    if (!filled.length) {
      place.innerHTML = '<p class="empty">not measured</p>';
      return;
    }
    const show = options.show || plain;
    const axis = { stroke: style("--soft"), grid: { stroke: style("--grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui", size: 34 };
    const numbers = table(filled.map((s) => [s.x, s.y]));
    const positive = numbers.slice(1).flat().filter((v) => v > 0);
    const log = options.log && positive.length;
    const plot = new uPlot({
      width: place.clientWidth || 480,
      height: 190,
      cursor: { drag: { x: true, y: false } },
      legend: { live: true },
      scales: { x: { time: false, range: options.xRange }, y: log ? { distr: 3, range: (_, min, max) => [round125(min, -1), round125(max, 1)] } : { range: (_, min, max) => [0, (max || 1) * 1.08] } },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map(options.showX || plain), splits: options.xSplits },
        { ...axis, size: 62, values: (_, ticks) => ticks.map(show), ...(log ? { splits: (_, i, min, max) => steps125(min, max), filter: (_, splits) => splits } : {}) },
      ],
      series: [
        { label: options.xLabel, value: (_, v) => (v == null ? "–" : (options.showX || plain)(v)) },
        ...filled.map((s) => ({
          label: s.label, stroke: colour(s.target), width: s.thin ? 1 : 2, dash: s.dash, spanGaps: true, alpha: s.thin ? 0.7 : 1,
          points: { show: numbers[0].length < 3 }, paths: s.bars ? uPlot.paths.stepped({ align: -1 }) : undefined, fill: s.bars ? colour(s.target) + "22" : undefined,
          value: (_, v) => (v == null ? "–" : show(v)),
        })),
      ],
    }, numbers, place);
    place.tabIndex = 0;
    place.setAttribute("role", "img");
    const last = filled.map((s) => `${s.label}: highest ${show(Math.max(...s.y.filter((v) => v != null)))}`);
    place.setAttribute("aria-label", `${place.previousElementSibling.textContent}. ${last.join("; ")}. Drag to zoom, double-click to reset.`);
    drawn.push([plot, place]);
  };

  const names = data.targets;
  const overTime = (key, extra = {}) => names.map((name, target) => ({
    label: extra.suffix ? `${name} ${extra.suffix}` : name, target, ...extra,
    x: data.timelines[target].map((w) => w.t_s),
    y: data.timelines[target].map((w) => (w[key] == null ? null : w[key] * (extra.scale || 1))),
  }));
  const widths = data.timelines.map((t) => (t.length > 1 ? t[1].t_s - t[0].t_s : 1));
  const perSecond = (key, extra = {}) => overTime(key, extra).map((s) => ({ ...s, y: s.y.map((v) => (v == null ? null : v / widths[s.target])) }));
  const time = { xLabel: "time", showX: (v) => (v >= 180 ? `${+(v / 60).toFixed(1)} min` : `${+v.toFixed(1)} s`) };

  // A percentile axis that gives the tail its room: P90, P99 and P99.9 stand equally far apart.
  const nines = (q) => -Math.log10(1 - q);
  const curve = (key) => data.charts.targets.map((t, target) => ({
    label: names[target], target, x: (t.curves[key] || []).map(([q]) => nines(q)), y: (t.curves[key] || []).map(([, v]) => v),
  }));
  const percentiles = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];
  const byPercentile = {
    log: true, show: shortMs, xLabel: "percentile",
    xSplits: (u) => percentiles.map(nines).filter((v) => v <= u.scales.x.max + 0.01),
    showX: (v) => `P${+(100 * (1 - 10 ** -v)).toFixed(Math.max(0, Math.ceil(v) - 2) + (v > 2.01 ? 0 : 0))}`,
  };
  const histogram = (key) => data.charts.targets.map((t, target) => {
    const buckets = t.buckets[key] || [];
    const all = buckets.reduce((sum, [, n]) => sum + n, 0);
    // Eight buckets to the decade: an empty one between two filled ones is a zero, not a gap.
    const filled = new Map(buckets.map(([edge, n]) => [Math.round(8 * Math.log10(edge)), (100 * n) / all]));
    const from = Math.min(...filled.keys()) - 1, to = Math.max(...filled.keys()) + 1;
    const x = [];
    for (let step = from; filled.size && step <= to; step++) x.push(step);
    return { label: names[target], target, bars: true, x: x.map((step) => step / 8), y: x.map((step) => filled.get(step) || 0) };
  });
  const decades = { xLabel: "latency", show: (v) => `${+v.toPrecision(3)} %`, showX: (v) => shortMs(10 ** v), xSplits: (u) => {
    const splits = [];
    for (let v = Math.ceil(u.scales.x.min); v <= u.scales.x.max; v++) splits.push(v);
    return splits.length > 1 ? splits : [u.scales.x.min, (u.scales.x.min + u.scales.x.max) / 2, u.scales.x.max];
  } };

  const draw = () => {
    for (const [plot, place] of drawn.splice(0)) { plot.destroy(); place.replaceChildren(); }
    const ms = { ...time, show: shortMs };
    chart("ttft-time", [...overTime("ttft_p99_ms"), ...overTime("ttft_p50_ms", { thin: true, suffix: "median" })], ms);
    chart("e2e-time", [...overTime("e2e_p99_ms"), ...overTime("e2e_p50_ms", { thin: true, suffix: "median" })], ms);
    chart("load-time", overTime("in_flight"), time);
    chart("sent-time", [...perSecond("sent"), ...perSecond("failed", { dash: [2, 4], suffix: "failed" })], time);
    chart("vram-time", overTime("vram_used_bytes", { scale: 1 / 2 ** 30 }), { ...time, show: (v) => `${+v.toPrecision(4)} GiB` });
    for (const key of ["ttft", "e2e", "tpot", "itl", "lateness"]) chart(`${key}-curve`, curve(key), byPercentile);
    for (const key of ["ttft", "e2e"]) chart(`${key}-hist`, histogram(key), decades);
    chart("lateness-time", overTime("lateness_max_ms"), ms);
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
})();
