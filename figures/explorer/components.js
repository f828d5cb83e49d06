// The list of components, the earliest first, and what is said of the one that is pointed at.

let list = null;

function number(value, places = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const text = Math.abs(value).toFixed(places).replace(/^0\./, ".");
  return value < 0 && Number(text) ? `−${text}` : text;
}

function stepWords(step) {
  return step >= 1000 && step % 1000 === 0 ? `${step / 1000}k` : String(step);
}

/** Onsets by component: the words for it, and what it is sorted by. */
function onsets() {
  const table = view.group.onsets, found = new Map();
  (table.component ?? []).forEach((name, row) => {
    const at = (column) => table[column][row], t = at("t"), emerges = at("emerges");
    const rounded = (step) => (step === null ? "?" : String(Number(step.toPrecision(3))));
    found.set(name, {
      order: emerges ? (t ?? -1) : Infinity,
      words: emerges ? (t === null ? "at first" : rounded(t)) : "–",
      interval: emerges && t !== null && at("low") !== null ? `${rounded(at("low"))} to ${rounded(at("high"))}` : "",
      discovery: at("discovery"),
      plateau: at("plateau"),
    });
  });
  return found;
}

async function buildList() {
  const $ = await tableLibrary();
  if (list) list.destroy(true);
  const holder = document.getElementById("components");
  const table = tableElement(["component", "onset", "end", "now", "bias"]);
  holder.replaceChildren(table);
  const known = view.onsets, nSteps = group().steps.length, last = (nSteps - 1) * view.n;
  const sorted = (value) => (Number.isNaN(value) ? -1 : value);
  const column = (read) => ({ className: "n", data: (i, kind) => (kind === "display" ? number(read(i)) : sorted(read(i))) });
  list = $(table).DataTable({
    ...tableOptions(view.n, 9),
    searching: true,
    data: view.names.map((_, i) => i),
    order: [[1, "asc"], [2, "desc"]],
    columns: [
      { data: (i) => view.names[i], render: $.fn.dataTable.render.text() },
      { className: "n", data: (i, kind) => {
        const onset = known.get(view.names[i]);
        return kind === "display" ? (onset?.words ?? "–") : (onset?.order ?? Infinity);
      } },
      column((i) => view.y[last + i]),
      column((i) => view.y[state.step * view.n + i]),
      column((i) => view.top_share?.[state.step * view.n + i]),
    ],
    createdRow: (row, i) => { row.dataset.i = i; },
    drawCallback: markKept,
  });
}

function nameButton(name) {
  const button = document.createElement("button"), dot = document.createElement("span");
  button.type = "button";
  button.textContent = name;
  dot.className = "dot";
  return [button, dot];
}

/** Buttons with the names, and dots in the colours of kept components, on the rows that are shown. */
function markKept() {
  for (const row of document.querySelectorAll("#components tr[data-i]")) {
    const name = view.names[row.dataset.i], at = state.keep.indexOf(name);
    if (!row.querySelector("button")) row.cells[0].replaceChildren(...nameButton(name));
    row.querySelector("button").setAttribute("aria-pressed", at >= 0);
    row.querySelector(".dot").style.background = at >= 0 ? keptColour(at) : "transparent";
    row.classList.toggle("kept-row", at >= 0);
  }
}

let resting;

/** Numbers of the list at another step, once the slider rests. */
function refreshList() {
  clearTimeout(resting);
  resting = setTimeout(() => list?.rows().invalidate("data").draw(false), 150);
}

function showFacts() {
  const holder = document.getElementById("facts");
  const i = state.pointed;
  if (i === null) {
    const words = document.createElement("div");
    words.textContent = "Point at a component in the map, the diamond or the list; click, or press Enter, to keep it.";
    words.className = "note";
    holder.replaceChildren(words);
    return;
  }
  const at = state.step * view.n + i, onset = view.onsets.get(view.names[i]);
  const facts = [
    ["component", view.names[i], "name"],
    ["accuracy", number(view.accuracy[at], 3)],
    ["less label bias", number(view.centred_accuracy?.[at], 3)],
    ["bias: share of its commonest answer", number(view.top_share?.[at], 3)],
    ...(view.share ? [["answers the second label", number(view.share[at], 3)]] : []),
    ...(onset ? [["onset, step", `${onset.words}${onset.interval ? ` (${onset.interval})` : ""}`],
      ["discovery", onset.discovery ? "yes" : "no"]] : []),
    ...Object.entries(view.mechanisms).filter(([, array]) => !Number.isNaN(array[at]))
      .map(([measure, array]) => [measure.replaceAll("_", " "), number(array[at], 3)]),
  ];
  holder.replaceChildren(...facts.map(([term, words, name]) => {
    const pair = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = term;
    dd.textContent = words;
    if (name) dd.className = name;
    pair.append(dt, dd);
    return pair;
  }));
}

function showKept() {
  const holder = document.getElementById("kept");
  holder.replaceChildren(...state.keep.map((name, i) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.color = keptColour(i);
    button.type = "button";
    button.append(swatch, `${name} ×`);
    button.setAttribute("aria-label", `${name}: do not keep`);
    button.addEventListener("click", () => keep(name));
    button.addEventListener("focus", () => point(view.names.indexOf(name)));
    item.append(button);
    return item;
  }));
}
