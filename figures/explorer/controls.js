// Controls: the settings above the view, the slider, and the pointer and keys on the charts.

function select(label, options, chosen, change) {
  const field = document.createElement("label"), box = document.createElement("select");
  field.className = "field";
  box.name = label;
  for (const [value, words] of options) box.append(new Option(words, value, false, String(value) === String(chosen)));
  box.addEventListener("change", () => change(box.value));
  field.append(label, box);
  return field;
}

function choice(label, options, chosen, change) {
  const set = document.createElement("fieldset"), legend = document.createElement("legend");
  const row = document.createElement("div");
  legend.textContent = label;
  row.className = "choice";
  for (const [value, words, disabled] of options) {
    const field = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "radio", name: label, value, checked: value === chosen, disabled });
    input.addEventListener("change", () => change(value));
    field.append(input, words);
    row.append(field);
  }
  set.append(legend, row);
  return set;
}

const LABELS = { model: "model", dtype: "dtype", control: "control", task: "task", n_shots: "shots" };

/** The settings; one that all groups share is not asked for, but for model, task and shots. */
function showSettings() {
  const focused = document.activeElement?.name, current = group(), fields = [];
  for (const name of ["model", "control", "dtype", "task", "n_shots"]) {
    const options = [...new Set(index.groups.map((other) => other[name]))];
    if (options.length < 2 && ["control", "dtype"].includes(name)) continue;
    const words = (value) => (name === "model" ? String(value).split("/").at(-1) || value : String(value));
    const distinct = new Set(options.map(words)).size === options.length;
    fields.push(select(LABELS[name], options.map((value) => [value, distinct ? words(value) : value]), current[name], (value) => change(name, value)));
  }
  const templates = Object.keys(current.templates).filter(Boolean);
  const all = templates.length > 1 ? [["", "all"]] : [["", templates[0] ?? "all"]];
  fields.push(select("template", [...all, ...(templates.length > 1 ? templates.map((name) => [name, name]) : [])], state.template, (value) => {
    state.template = value;
    showSelection();
  }));
  const centred = Boolean(current.templates[state.template].centred_accuracy);
  fields.push(choice("accuracy", [["raw", "as it is"], ["centred", "less label bias", !centred]], state.form, (value) => {
    state.form = value;
    showSelection();
  }));
  element("settings").replaceChildren(...fields);
  if (focused) [...element("settings").elements].find((box) => box.name === focused && (box.type !== "radio" || box.checked))?.focus();
}

function change(name, value) {
  const wanted = Object.fromEntries(SETTINGS.map((other) => [other, group()[other]]));
  const order = [name, ...SETTINGS.filter((other) => other !== name)];
  let among = index.groups.map((_, i) => i);
  for (const other of order) {
    const agree = among.filter((i) => String(index.groups[i][other]) === String(other === name ? value : wanted[other]));
    if (agree.length) among = agree;
  }
  moveTo(among[0], group().steps[state.step]);
  showSelection();
}

let playing = null;

function play() {
  const button = element("play");
  if (playing) {
    clearInterval(playing);
    playing = null;
  } else {
    if (state.step === group().steps.length - 1) goTo(0);
    playing = setInterval(() => (state.step < group().steps.length - 1 ? goTo(state.step + 1) : play()), 300);
  }
  button.setAttribute("aria-pressed", Boolean(playing));
  button.setAttribute("aria-label", playing ? "Pause" : "Play");
  button.textContent = playing ? "❚❚" : "▶";
}

function pixel(chart, event) {
  const [x, y] = chart.origin(), box = chart.container().querySelector("canvas").getBoundingClientRect();
  return [event.clientX - box.left - x, event.clientY - box.top - y];
}

/** The component nearest to the pointer in the diamond, within 20 pixels. */
function nearestPoint(event) {
  const chart = charts.diamond.view, [x, y] = pixel(chart, event), toX = chart.scale("x"), toY = chart.scale("y");
  let best = -1, least = 400;
  for (let i = 0; i < view.n; i++) {
    const place = point2(i);
    if (!place) continue;
    const distance = (toX(place.x) - x) ** 2 + (toY(place.y) - y) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

function nearestStep(event) {
  const chart = charts.curves.view, at = chart.scale("x").invert(pixel(chart, event)[0]);
  const distances = group().steps.map((step) => Math.abs(position(step) - at));
  return distances.indexOf(Math.min(...distances));
}

/** The kept component whose trace is nearest to the pointer, within 12 pixels. */
function nearestTrace(event) {
  const chart = charts.curves.view, y = pixel(chart, event)[1], s = nearestStep(event);
  const places = state.keep.map((name) => view.names.indexOf(name));
  const distance = (i) => Math.abs(chart.scale("y")(view.y[s * view.n + i]) - y);
  const best = places.toSorted((a, b) => distance(a) - distance(b))[0];
  return best !== undefined && distance(best) < 12 ? best : -1;
}

function listenToCharts() {
  const map = charts.map.view;
  map.addEventListener("mousemove", (_, item) => item?.datum?.i !== undefined && point(item.datum.i));
  map.addEventListener("click", (_, item) => item?.datum?.i !== undefined && (point(item.datum.i), keep(view.names[item.datum.i])));
}

function keysOnMap(event) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const placed = state.pointed !== null && view.places[state.pointed];
  if ((event.key === "Enter" || event.key === " ") && placed) keep(view.names[state.pointed]);
  else if (event.key in moves) moveOnMap(placed, moves[event.key]);
  else return;
  event.preventDefault();
}

function moveOnMap(placed, [right, up]) {
  const columns = view.columns.filter((name) => name !== " ");
  const at = (column, layer) => view.places.findIndex((place) => place && place[0] === columns[column] && place[1] === layer);
  if (!placed) return point(view.places.findIndex(Boolean));
  return point(at(columns.indexOf(placed[0]) + right, placed[1] + up));
}

function listen() {
  element("step").addEventListener("input", (event) => goTo(Number(event.target.value)));
  element("back").addEventListener("click", () => goTo(state.step - 1));
  element("on").addEventListener("click", () => goTo(state.step + 1));
  element("play").addEventListener("click", play);
  element("csv").addEventListener("click", download);
  element("polars").addEventListener("click", showPolars);
  element("legend").addEventListener("click", (event) => {
    const name = event.target.closest("button")?.dataset.curve;
    if (!name) return;
    state.hide = state.hide.includes(name) ? state.hide.filter((other) => other !== name) : [...state.hide, name];
    showLegend();
    drawCurves();
    writeAddress();
  });
  element("map").addEventListener("keydown", keysOnMap);
  element("diamond").addEventListener("pointermove", (event) => point(nearestPoint(event)));
  element("diamond").addEventListener("click", (event) => nearestPoint(event) >= 0 && keep(view.names[nearestPoint(event)]));
  element("curves").addEventListener("pointermove", (event) => point(nearestTrace(event)));
  element("curves").addEventListener("click", (event) => goTo(nearestStep(event)));
  const components = element("components");
  const listed = (event) => Number(event.target.closest("tr[data-i]")?.dataset.i ?? -1);
  components.addEventListener("pointerover", (event) => point(listed(event)));
  components.addEventListener("focusin", (event) => point(listed(event)));
  components.addEventListener("click", (event) => listed(event) >= 0 && keep(view.names[listed(event)]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", async () => {
    await buildCharts();
    await showSelection();
  });
  addEventListener("hashchange", async () => {
    if (!location.hash.includes("=")) return;
    showMissed(readAddress());
    await showSelection();
  });
}

function showMissed(missed) {
  element("missed").textContent = missed.length ? `Not in these results, though the address names it: ${missed.join(", ")}.` : "";
}

async function open() {
  state.group = nearestGroup({})[0];
  state.step = group().steps.length - 1;
  const missed = readAddress();
  element("explorer").hidden = false;
  view.colours = theme();
  await load();
  await buildCharts();
  listen();
  await showSelection();
  showMissed(missed);
  performance.mark("explorer-open");
  element("explorer").dataset.ready = "yes";
}

open().catch(sayFailure);
