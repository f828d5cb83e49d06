// The view: settings, slider, pointing and keeping, and what is drawn again after each.

const index = JSON.parse(document.getElementById("explorer-index").textContent);
const view = {};
const element = (id) => document.getElementById(id);

/** The numbers of the chosen group and template. */
async function load() {
  const current = group(), blocks = current.templates[state.template];
  const [names, kinds] = index.components[current.components];
  const numbers = {};
  for (const measure of ["accuracy", "centred_accuracy", "share", "top_share"]) {
    numbers[measure] = await values(blocks[measure], names.length);
  }
  if (!numbers.centred_accuracy) state.form = "raw";
  const shape = (kind) => ({ head: "circle", mlp: "square", Full: "diamond" }[kind] ?? "triangle-up");
  Object.assign(view, numbers, mapPlaces(), { names, n: names.length, mechanisms: {}, full: kinds.indexOf("Full"),
    shapes: kinds.map(shape), x: current.n_labels === 2 && numbers.share ? numbers.share : numbers.top_share,
    y: state.form === "centred" ? numbers.centred_accuracy : numbers.accuracy,
    group: JSON.parse(element(`explorer-group-${state.group}`).textContent) });
  view.onsets = onsets();
}

/** What was measured on heads, which only the facts on one component need. */
async function loadMechanisms() {
  const found = {};
  for (const [measure, block] of Object.entries(group().mechanisms)) {
    const array = await values(block, view.n);
    if (array) found[measure] = array;
  }
  view.mechanisms = found;
  showFacts();
}

let turn = Promise.resolve();

/** Everything again, after the group, the template or the form has changed; one selection after the other. */
function showSelection() {
  turn = turn.then(showAll).catch(sayFailure);
  return turn;
}

function sayFailure(error) {
  element("explorer").hidden = false;
  element("missed").textContent = `The interactive view cannot be shown: ${error.message}`;
}

async function showAll() {
  await load();
  if (state.pointed !== null && state.pointed >= view.n) state.pointed = null;
  showSettings();
  frameCharts();
  element("step").max = group().steps.length - 1;
  element("n-points").textContent = `${view.n - (view.full >= 0)} components`;
  const several = new Set(group().templates[state.template].n_prompts);
  const prompts = several.size > 1 ? `${Math.min(...several)} to ${Math.max(...several)} prompt sets at a step` : `${[...several][0]} prompt sets`;
  element("means-note").textContent = `Means over ${prompts} of ${group().n_examples} test rows. Onsets are of accuracy as it is. CSV and Polars: the kept components, or all of them, at every step.`;
  element("curves-note").textContent = curvesNote();
  await Promise.all([drawCurves(), showStep()]);
  showKept();
  await buildList();
  await loadMechanisms();
}

function curvesNote() {
  const bands = curvesShown().some((curve) => curve.low?.some((value) => value !== null));
  const notes = [bands ? "Bands: 95 % intervals." : state.template ? "Under a single template curves have no intervals." : "No intervals here."];
  if (curvesShown().some((curve) => curve.band)) notes.push("Grey: what Held-out T1 exceeds at any step in 1 % where labels are permuted.");
  if (curvesShown().some((curve) => index.curves[curve.curve].faint)) notes.push("Faint: chosen on the rows it is scored on, an optimistic bound.");
  if (group().flagged) notes.push(`Left out: ${group().flagged}.`);
  return notes.join(" ");
}

/** Everything that depends on the step. */
async function showStep() {
  const started = performance.now(), steps = group().steps, tokens = group().tokens[state.step];
  element("step").value = state.step;
  const strong = document.createElement("b");
  strong.textContent = steps[state.step].toLocaleString("en");
  const words = tokens ? ` · ${Number(tokens.toPrecision(3)).toLocaleString("en", { notation: "compact" })} tokens` : "";
  element("step-words").replaceChildren("step ", strong, words);
  element("step").setAttribute("aria-valuetext", `step ${steps[state.step]}`);
  showLegend();
  showFacts();
  drawMap();
  drawDiamond();
  await Promise.all([drawMarks(), charts.curves.view.signal("at", position(steps[state.step])).runAsync()]);
  writeAddress();
  refreshList();
  performance.measure("explorer-step", { start: started, end: performance.now() });
}

function showLegend() {
  const step = group().steps[state.step];
  const items = curvesShown().toReversed().map((curve) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const swatch = document.createElement("span"), value = document.createElement("b");
    swatch.className = "swatch";
    swatch.style.color = colourOf(curve.curve);
    if (index.curves[curve.curve].faint) swatch.style.opacity = 0.5;
    value.textContent = number(curve.mean[curve.step.indexOf(step)]);
    button.type = "button";
    button.setAttribute("aria-pressed", !state.hide.includes(curve.curve));
    button.append(swatch, `${curve.curve}${curve.n_labelled ? `, K = ${curve.n_labelled}` : ""}`, value);
    button.dataset.curve = curve.curve;
    item.append(button);
    return item;
  });
  const focused = document.activeElement?.dataset?.curve;
  element("legend").replaceChildren(...items);
  if (focused) items.map((item) => item.firstChild).find((button) => button.dataset.curve === focused)?.focus();
}

let frame = null;

/** Another step; of several in one frame only the last is drawn. */
function goTo(step) {
  state.step = Math.min(Math.max(step, 0), group().steps.length - 1);
  frame ??= requestAnimationFrame(() => {
    frame = null;
    showStep();
  });
}

function point(i) {
  if (i === state.pointed || i < 0) return;
  state.pointed = i;
  showFacts();
  drawMarks();
  drawTraces();
}

/** Keeps a component, or no longer. */
function keep(name) {
  state.keep = state.keep.includes(name) ? state.keep.filter((other) => other !== name) : [...state.keep, name];
  showKept();
  markKept();
  drawMarks();
  drawCurves();
  element("polars-line").textContent = polars();
  writeAddress();
}
