"use strict";
// What the charts of every page share: colours, axes, and how a series becomes a plot. Each page's own script says what to draw.
// Without scripts the tables still say everything.
const charts = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (i) => (i < 0 ? style("--soft") : style(`--s${i % 6}`));
  const shortMs = (v) => (v >= 1000 ? `${+(v / 1000).toPrecision(3)} s` : v >= 0.1 || v === 0 ? `${+v.toPrecision(3)} ms` : `${+(v * 1000).toPrecision(2)} µs`);
  const plain = (v) => `${+v.toPrecision(3)}`;
  const percent = (v) => `${+v.toPrecision(3)} %`;
  // 1,500 and 12k: how many of something, in the room that an axis has.
  const short = (v) => (v >= 1e6 ? `${+(v / 1e6).toPrecision(3)}M` : v >= 1e4 ? `${+(v / 1e3).toPrecision(3)}k` : plain(v));
  const drawn = [];
  const font = "12px system-ui";

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
  // As many of them as there is room for.
  const logSplits = (min, max, room = 8) => {
    const steps = steps125(min, max);
    return steps.length > room ? steps.filter((s) => Number.isInteger(+Math.log10(s).toFixed(6))) : steps;
  };

  // A range that shows what changes, where the whole is much larger.
  const around = (min, max) => { const air = Math.max(max - min, max / 100) / 2; return [Math.max(0, min - air), max + air]; };

  // Merges the x values of several series into one uPlot table. What a series did not measure is null there, a gap in its line; an x that
  // only another series has is undefined, and the line goes past it, unless it lies in a gap.
  const table = (series) => {
    const xs = [...new Set(series.flatMap((s) => s.x))].sort((a, b) => a - b);
    return [xs, ...series.map((s) => {
      const at = new Map(s.x.map((value, i) => [value, i]));
      let last = -1;
      return xs.map((value) => {
        const own = at.get(value);
        if (own != null) return s.y[(last = own)] ?? null;
        return s.y[last] == null || s.y[last + 1] == null ? null : undefined;
      });
    })];
  };

  // Where a line has one value alone between two gaps, and so no length.
  const lone = (ys) => {
    const own = [...ys.keys()].filter((i) => ys[i] !== undefined);
    return own.filter((i, n) => ys[i] != null && ys[own[n - 1]] == null && ys[own[n + 1]] == null);
  };

  // One on top of the other, the last series topmost. What is drawn is the sum up to a series, what is told is its own value.
  const stacked = (series) => {
    const sums = [];
    return series.map((s) => ({ ...s, own: s.y, y: s.y.map((v, i) => (sums[i] = (sums[i] || 0) + (v || 0))) })).reverse();
  };

  // As wide as most labels, so that charts above one another begin at one place; wider where a label would be cut off.
  const room = (u, labels) => {
    u.ctx.save();
    u.ctx.font = font;
    const widest = Math.max(0, ...(labels || []).map((label) => u.ctx.measureText(label ?? "").width));
    u.ctx.restore();
    return Math.max(62, Math.ceil(widest) + 10);
  };

  const chart = (id, series, options) => {
    const place = document.getElementById(id);
    if (!place) return;
    const measured = series.filter((s) => s.y.some((v) => v != null));
    if (!measured.length) {
      place.innerHTML = '<p class="empty">not measured</p>';
      return;
    }
    const filled = options.stack ? stacked(measured) : measured;
    const show = options.show || plain;
    const showX = options.showX || plain;
    const axis = { stroke: style("--soft"), grid: { stroke: style("--grid"), width: 1 }, ticks: { show: false }, font, size: 34 };
    const numbers = table(filled);
    const bands = banded(filled, numbers[0]);
    const log = options.log && numbers.slice(1).flat().some((v) => v > 0);
    const paths = (s) => (s.dots ? () => null : s.steps ? uPlot.paths.stepped({ align: 1 }) : s.bars ? uPlot.paths.stepped({ align: -1 }) : undefined);
    const between = options.stack ? filled.slice(1).map((s, i) => [i + 1, i + 2, colour(filled[i].target) + "66"]) : [];
    const fill = (s, i) => (options.stack ? (i === filled.length - 1 ? colour(s.target) + "66" : undefined) : s.bars || s.area ? colour(s.target) + "22" : undefined);
    const marks = (options.marks || []).filter(([x]) => x != null);
    const rangeY = (u, min, max) => {
      const seen = [min, max, ...within(u, bands)].filter((v) => v != null && (!log || v > 0));
      // Nothing was measured where the chart is zoomed into.
      if (!seen.length) return [1, 10];
      const low = Math.min(...seen), high = Math.max(...seen);
      return log ? [round125(low, -1), round125(high, 1)] : options.fit ? around(low, high) : [0, (high || 1) * (marks.length ? 1.3 : 1.08)];
    };
    const own = { place, sync: options.sync };
    own.plot = new uPlot({
      width: place.clientWidth || 480,
      height: 190,
      cursor: { drag: { x: true, y: false }, ...(options.sync ? { sync: { key: options.sync, scales: ["x", null] } } : {}) },
      legend: { live: true },
      scales: { x: { time: false, range: options.xRange }, y: { ...(log ? { distr: 3 } : {}), range: rangeY } },
      axes: [
        { ...axis, values: (u, ticks) => ticks.map((v) => showX(v, u.scales.x.max)), splits: options.xSplits, ...(options.xIncrs ? { incrs: options.xIncrs } : {}) },
        { ...axis, size: room, values: (_, ticks) => ticks.map(show), ...(log ? { splits: (_, i, min, max) => logSplits(min, max), filter: (_, splits) => splits } : {}) },
      ],
      bands: between.map(([top, bottom, fill]) => ({ series: [top, bottom], fill })),
      hooks: {
        drawClear: [(u) => drawShades(u, options.shades || []), (u) => drawBands(u, bands)],
        draw: marks.length ? [(u) => drawMarks(u, marks)] : [],
        // Before it is ready its axes have no ends.
        ready: [(u) => { own.whole = [u.scales.x.min, u.scales.x.max]; }],
      },
      series: [
        { label: options.xLabel, value: (u, v) => (v == null ? "–" : showX(v, u.scales.x.max)) },
        ...filled.map((s, i) => ({
          label: s.label, stroke: colour(s.target), width: s.thin ? 1 : s.steps ? 1.4 : 2, dash: s.dash, alpha: s.thin ? 0.7 : 1,
          points: { ...(s.dots ? { size: 5, fill: colour(s.target) + "99", width: 0 } : {}), show: !!(s.dots || s.points), filter: (u, at, shown) => (shown ? null : lone(u.data[at])) }, paths: paths(s), fill: fill(s, i),
          value: (_, v, __, at) => (v == null ? "–" : show(s.own && at != null ? s.own[at] : v) + told(bands[i], at, show)),
        })),
      ],
    }, numbers, place);
    place.tabIndex = 0;
    place.setAttribute("role", "img");
    const last = measured.map((s) => `${s.label}: highest ${show(Math.max(...s.y.filter((v) => v != null)))}`);
    place.setAttribute("aria-label", `${place.closest("figure").querySelector("figcaption").textContent}. ${last.join("; ")}. Drag or press + and - to zoom, arrows to move, double-click or press 0 to reset.`);
    place.onkeydown = (event) => zoomed(own, event);
    drawn.push(own);
  };

  // The intervals of each series that has them, at each x of the table; an end that is null is open.
  const banded = (series, xs) => series.map((s) => {
    if (!s.band) return null;
    const at = new Map(s.x.map((value, i) => [value, s.band[i]]));
    return { target: s.target, ends: xs.map((value) => at.get(value)) };
  });
  const told = (band, at, show) => {
    const ends = band && at != null && band.ends[at];
    return ends ? ` (${ends[0] == null ? "0" : show(ends[0])} – ${ends[1] == null ? "∞" : show(ends[1])})` : "";
  };
  // The ends of the intervals that are in view.
  const within = (u, bands) => {
    const [from, to] = u.series[0].idxs;
    return bands.flatMap((band) => (band ? band.ends.slice(from, to + 1).flatMap((ends) => ends || []) : []));
  };

  // Each interval behind its line, up or down to the chart's edge where its end is open.
  const drawBands = (u, bands) => {
    const { ctx, bbox } = u;
    const bottom = bbox.top + bbox.height;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const band of bands.filter((one) => one)) {
      const places = u.data[0].map((x, i) => [u.valToPos(x, "x", true), band.ends[i]]).filter(([, ends]) => ends);
      const at = (value, edge) => (value == null ? edge : u.valToPos(value, "y", true));
      ctx.fillStyle = colour(band.target) + "2b";
      ctx.beginPath();
      for (const [x, [, high]] of places) ctx.lineTo(x, at(high, bbox.top));
      for (const [x, [low]] of places.reverse()) ctx.lineTo(x, at(low, bottom));
      ctx.fill();
    }
    ctx.restore();
  };

  // What a key does to a chart, and to those that share its axis.
  const zoomed = (own, event) => {
    const { min, max } = own.plot.scales.x;
    const wide = max - min, middle = (min + max) / 2;
    const range = {
      "+": [middle - wide / 4, middle + wide / 4], "=": [middle - wide / 4, middle + wide / 4], "-": [middle - wide, middle + wide],
      ArrowLeft: [min - wide / 4, max - wide / 4], ArrowRight: [min + wide / 4, max + wide / 4], 0: own.whole, Escape: own.whole,
    }[event.key];
    if (!range || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const [from, to] = own.whole;
    const kept = { min: Math.max(from, Math.min(range[0], to - wide / 8)), max: Math.min(to, Math.max(range[1], from + wide / 8)) };
    for (const one of drawn) if (one === own || (own.sync && one.sync === own.sync)) one.plot.setScale("x", kept);
  };

  // A shade behind the chart for each [from, to, name].
  const drawShades = (u, shades) => {
    const ratio = devicePixelRatio || 1;
    const { ctx, bbox } = u;
    ctx.save();
    ctx.font = `${11 * ratio}px system-ui`;
    ctx.fillStyle = style("--soft");
    for (const [from, to, name] of shades) {
      const inside = (x) => Math.min(Math.max(u.valToPos(x, "x", true), bbox.left), bbox.left + bbox.width);
      const left = inside(from), wide = inside(to) - left;
      ctx.globalAlpha = 0.13;
      ctx.fillRect(left, bbox.top, wide, bbox.height);
      ctx.globalAlpha = 0.9;
      if (ctx.measureText(name).width + 8 * ratio < wide) ctx.fillText(name, left + 4 * ratio, bbox.top + bbox.height - 5 * ratio);
    }
    ctx.restore();
  };

  // A line down the chart for each [x, name], or [x, name, target] in that target's colour; the names step down so that lines close together stay readable.
  const drawMarks = (u, marks) => {
    const ratio = devicePixelRatio || 1;
    const { ctx, bbox } = u;
    ctx.save();
    ctx.lineWidth = ratio;
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.font = `${11 * ratio}px system-ui`;
    marks.forEach(([x, name, target], i) => {
      ctx.strokeStyle = ctx.fillStyle = target == null ? style("--ink") : colour(target);
      const at = Math.round(u.valToPos(x, "x", true));
      if (at < bbox.left || at > bbox.left + bbox.width) return;
      ctx.globalAlpha = 0.55;
      ctx.beginPath();
      ctx.moveTo(at, bbox.top);
      ctx.lineTo(at, bbox.top + bbox.height);
      ctx.stroke();
      ctx.globalAlpha = 1;
      const wide = ctx.measureText(name).width + 5 * ratio;
      ctx.textAlign = at + wide > bbox.left + bbox.width ? "right" : "left";
      ctx.fillText(name, at + (ctx.textAlign === "right" ? -4 : 4) * ratio, bbox.top + (11 + 14 * i) * ratio);
    });
    ctx.restore();
  };

  const minute = 60, hour = 3600, day = 86400;
  const time = {
    xLabel: "time",
    xIncrs: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, minute, 2 * minute, 5 * minute, 10 * minute, 20 * minute, 30 * minute, hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 7 * day, 14 * day, 28 * day, 91 * day, 364 * day],
    // The unit is the whole axis's, not each tick's.
    showX: (v, max) => {
      const [unit, name, digits] = max >= 3 * day ? [day, "d", 2] : max >= 3 * hour ? [hour, "h", 2] : max >= 3 * minute ? [minute, "min", 1] : [1, "s", 2];
      return `${+(v / unit).toFixed(digits)} ${name}`;
    },
  };

  // An axis of logarithms of values that `show` names: 1, 2 and 5 of every decade, or as many of them as there is room for.
  const decades = (show) => ({
    showX: (v) => show(10 ** v),
    xSplits: (u) => {
      const splits = logSplits(10 ** u.scales.x.min, 10 ** u.scales.x.max, u.width / 60).map(Math.log10);
      return splits.length > 1 ? splits : [u.scales.x.min, (u.scales.x.min + u.scales.x.max) / 2, u.scales.x.max];
    },
  });

  // Bars from (upper edge, count) of eight buckets to the decade, as shares in percent. An empty bucket between two filled ones
  // is a zero, not a gap.
  const histogram = (buckets) => {
    const all = buckets.reduce((sum, [, n]) => sum + n, 0);
    const filled = new Map(buckets.map(([edge, n]) => [Math.round(8 * Math.log10(edge)), (100 * n) / all]));
    const from = Math.min(...filled.keys()) - 1, to = Math.max(...filled.keys()) + 1;
    const x = [];
    for (let step = from; filled.size && step <= to; step++) x.push(step);
    return { bars: true, x: x.map((step) => step / 8), y: x.map((step) => filled.get(step) || 0) };
  };

  // Draws a page, and draws it again when its colours or its width change.
  const page = (draw) => {
    const anew = () => {
      for (const { plot, place } of drawn.splice(0)) { plot.destroy(); place.replaceChildren(); }
      draw();
    };
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", anew);
    let width = innerWidth;
    addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; anew(); } });
  };

  return { data, chart, page, time, decades, histogram, plain, short, shortMs, percent };
})();
