// What is drawn: rows for the three charts from the decoded numbers, at the chosen step.

const charts = {};

async function embed(id, spec, colours) {
  charts[id]?.finalize();
  const holder = document.getElementById(id);
  const options = { mode: "vega", renderer: "canvas", actions: false, tooltip: false, config: config(colours) };
  const result = await vegaEmbed(holder, spec, options);
  charts[id] = result;
  charts[id].view = result.view;
}

async function buildCharts() {
  const colours = (view.colours = theme());
  const height = innerWidth < 640 ? 300 : 330;
  await Promise.all([
    embed("curves", curvesSpec(colours), colours),
    embed("map", mapSpec(colours, height), colours),
    embed("diamond", diamondSpec(colours, height), colours),
  ]);
  listenToCharts();
}

function zeroPosition() {
  const first = group().steps.find((step) => step > 0) ?? 1;
  return Math.log2(first) - 1.5;
}

function position(step) {
  return step > 0 ? Math.log2(step) : zeroPosition();
}

/** Positions of the ticks: step 0, and powers of two, or of ten in long trainings. */
function ticks() {
  const positive = group().steps.filter((step) => step > 0), last = positive.at(-1) ?? 1;
  const powerOf = last <= 4096 ? 2 : 10;
  let powers = [...Array(20).keys()].map((i) => powerOf ** i).filter((step) => step >= (positive[0] ?? 1) && step <= last);
  if (powers.length < 2) powers = [positive[0] ?? 1, last];
  return [...(group().steps[0] === 0 ? [zeroPosition()] : []), ...powers.map(Math.log2)];
}

function colourOf(curve) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const colour = index.curves[curve].colour;
  return dark ? ({ "#000000": "#f0f0ee", "#0072B2": "#3b8edb", "#56B4E9": "#9fd8f7", "#D55E00": "#e8824a" }[colour] ?? colour) : colour;
}

/** The curves of the chosen template and form; Full from the blocks where no table has it. */
function curvesShown() {
  const centred = state.form === "centred";
  const found = view.group.curves.filter((curve) => curve.template === state.template && curve.centred === centred);
  if (found.some((curve) => curve.curve === "Full") || view.full < 0) return found;
  const mean = group().steps.map((_, s) => view.y[s * view.n + view.full]);
  return [...found, { curve: "Full", template: state.template, centred, n_labelled: 0, step: group().steps, mean }];
}

function lineRows(key, steps, mean, look, low, high) {
  const alone = steps.filter((step) => step > 0).length === 1;
  return steps.map((step, s) => ({ key, x: position(step), y: Number.isNaN(mean[s]) ? null : mean[s],
    low: low?.[s] ?? null, high: high?.[s] ?? null, zero: step === 0, alone, last: s === steps.length - 1, ...look }));
}

function drawCurves() {
  const rows = [], chart = charts.curves.view;
  for (const curve of curvesShown()) {
    if (state.hide.includes(curve.curve)) continue;
    const faint = index.curves[curve.curve].faint;
    const dash = curve.curve === "Cross-seed T1" ? [7, 2, 2, 2] : faint ? [2, 2] : [];
    const look = { colour: colourOf(curve.curve), width: faint ? 1.2 : curve.curve === "Full" ? 2.4 : 1.8,
      opacity: faint ? 0.5 : 1, dash };
    rows.push(...lineRows(curve.curve, curve.step, curve.mean, look, faint ? null : curve.low, faint ? null : curve.high));
  }
  const banded = curvesShown().find((curve) => curve.curve === "Held-out T1" && curve.band);
  const band = banded ? lineRows("null", banded.step, banded.band, {}) : [];
  chart.signal("zero", zeroPosition()).signal("ticks", ticks()).signal("chance", 1 / group().n_labels);
  const positions = group().steps.map(position), first = Math.min(...positions) - 0.3, last = Math.max(...positions) + 0.3;
  const room = state.keep.length ? 56 / Math.max(chart.signal("width") - 100, 100) : 0;
  chart.signal("domain", [first, last + (last - first) * room]);
  chart.data("curves", rows).data("null", band);
  return drawTraces();
}

function traceOf(i) {
  const steps = group().steps;
  return steps.map((_, s) => view.y[s * view.n + i]);
}

/** The kept components and the one that is pointed at, in the curves. */
function drawTraces() {
  const rows = state.keep.flatMap((name, k) => {
    const i = view.names.indexOf(name), dash = KEPT_DASHES[Math.floor(k / KEPT.length) % KEPT_DASHES.length];
    return lineRows(name, group().steps, traceOf(i), { colour: keptColour(k), width: 2.2, opacity: 1, dash });
  });
  const pointed = state.pointed === null ? null : view.names[state.pointed];
  if (pointed && !state.keep.includes(pointed)) {
    const look = { colour: view.colours.ink, width: 1.6, opacity: 1, dash: [] };
    rows.push(...lineRows(pointed, group().steps, traceOf(state.pointed), look));
  }
  spreadLabels(rows.filter((row) => row.last));
  return charts.curves.view.data("traces", rows).runAsync();
}

/** Heights of the names at the ends of traces, so far apart that they can be read. */
function spreadLabels(ends) {
  const apart = 12 / charts.curves.view.signal("height");
  let top = Infinity;
  for (const row of ends.toSorted((a, b) => b.y - a.y)) {
    row.labelY = Math.min(row.y ?? 0.5, top - apart);
    top = row.labelY;
  }
}

/** Places of heads and MLPs in the map: [column, layer]; null for other parts, which give one answer to all rows. */
function mapPlaces() {
  const [, kinds, layers, heads] = index.components[group().components];
  const nHeads = Math.max(-1, ...heads.filter((head) => head !== null)) + 1;
  const columns = [...Array(nHeads).keys()].map(String);
  if (kinds.includes("mlp")) columns.push(" ", "MLP");
  const column = (i) => ({ head: String(heads[i]), mlp: "MLP" })[kinds[i]];
  const places = kinds.map((_, i) => (column(i) === undefined ? null : [column(i), layers[i]]));
  const nLayers = Math.max(-1, ...layers.filter((layer) => layer !== null)) + 1;
  return { columns, places, layers: [...Array(nLayers).keys()] };
}

function cell(i, extra) {
  const [x, layer] = view.places[i];
  return { i, x, layer, ...extra };
}

function drawMap() {
  const from = state.step * view.n, chance = 1 / group().n_labels, cells = [];
  for (let i = 0; i < view.n; i++) {
    if (!view.places[i]) continue;
    const value = view.y[from + i];
    cells.push(cell(i, { above: Number.isNaN(value) ? null : (value - chance) / (1 - chance), words: number(value) }));
  }
  return charts.map.view.data("cells", cells);
}

function point2(i) {
  const at = state.step * view.n + i, x = view.x?.[at], y = view.y[at];
  return x === undefined || Number.isNaN(x) || Number.isNaN(y) ? null : { i, x, y, shape: view.shapes[i] };
}

function drawDiamond() {
  const points = [], many = view.n > 200;
  for (let i = 0; i < view.n; i++) {
    const point = point2(i);
    if (!point) continue;
    const full = i === view.full;
    points.push({ ...point, size: full ? 110 : many ? 26 : 52, colour: full ? colourOf("Full") : view.colours.faint,
      opacity: full ? 1 : many ? 0.5 : 0.75 });
  }
  return charts.diamond.view.data("points", points);
}

/** Rings and outlines of kept and pointed components in the map and the diamond. */
function drawMarks() {
  const kept = state.keep.map((name, k) => [view.names.indexOf(name), { colour: keptColour(k) }]);
  const pointed = state.pointed === null ? [] : [[state.pointed, {}]];
  for (const [name, marks] of [["kept", kept], ["pointed", pointed]]) {
    charts.map.view.data(name, marks.filter(([i]) => view.places[i]).map(([i, look]) => cell(i, look)));
    charts.diamond.view.data(name, marks.flatMap(([i, look]) => (point2(i) ? [{ ...point2(i), ...look }] : [])));
  }
  return Promise.all([charts.map.view.runAsync(), charts.diamond.view.runAsync()]);
}

function frameCharts() {
  const k = group().n_labels, two = k === 2 && view.share;
  const corners = two ? [[0, 0.5], [0.5, 1], [1, 0.5], [0.5, 0], [0, 0.5]] : [[1 / k, 1 / k], [1 / k, 1], [1, 1 / k], [1 - 1 / k, 0], [1 / k, 0]];
  charts.diamond.view.data("outline", corners.map(([x, y]) => ({ x, y })));
  charts.diamond.view.signal("first", two ? 0 : 1 / k).signal("chance", 1 / k);
  const words = two ? "share answered with the second label" : "share of the commonest answer";
  charts.diamond.view.signal("words", state.form === "centred" ? `${words}, as it is` : words);
  charts.map.view.signal("columns", view.columns).signal("layers", view.layers);
}
