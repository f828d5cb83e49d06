// The selection as CSV, and as the Polars expression that makes the same table from the results.

const MEASURES = ["accuracy", "centred_accuracy", "top_share"];
const STORED = { accuracy: "accuracy", centred_accuracy: "centred_accuracy", top_share: "label_share_max" };

/** Kept components, or all of them where none is kept; the full model has no row in `component_scores`. */
function taken() {
  const names = state.keep.length ? state.keep : view.names;
  return names.filter((name) => name !== "Full").toSorted();
}

function quoted(value) {
  const text = String(value);
  return /[",\n\r]/.test(text) || text === "" ? `"${text.replaceAll('"', '""')}"` : text;
}

function csv() {
  const current = group(), names = taken(), place = names.map((name) => view.names.indexOf(name));
  const measures = MEASURES.filter((measure) => view[measure]);
  const lines = [[...SETTINGS, "step", "component", ...measures.map((measure) => STORED[measure]), "n_prompts"].join(",")];
  const settings = SETTINGS.map((name) => quoted(current[name])).join(",");
  const nPrompts = current.templates[state.template].n_prompts;
  current.steps.forEach((step, s) => names.forEach((name, k) => {
    const at = s * view.n + place[k];
    if (Number.isNaN(view.accuracy[at])) return;
    const numbers = measures.map((measure) => (Number.isNaN(view[measure][at]) ? "" : Number(view[measure][at].toFixed(6))));
    lines.push([settings, step, quoted(name), ...numbers, nPrompts[s]].join(","));
  }));
  return `${lines.join("\n")}\n`;
}

/** A JSON string is a Python string with the same characters. */
const python = JSON.stringify;

function polars() {
  const current = group();
  const filters = SETTINGS.map((name) => `pl.col("${name}") == ${python(current[name])}`);
  if (state.template) filters.push(`pl.col("template") == ${python(state.template)}`);
  const names = taken();
  if (state.keep.length) filters.push(`pl.col("component").is_in(${python(names)})`);
  const stored = MEASURES.filter((measure) => view[measure]).map((measure) => STORED[measure]);
  return `import polars as pl
from analysis.reading.result_tables import valid_rows

table = (
    valid_rows(${python(index.results)}, "component_scores")
    .filter(
        pl.col("split") == "test",
        ${filters.join(",\n        ")},
    )
    .group_by(${[...SETTINGS, "step", "component"].map(python).join(", ")})
    .agg(pl.col(${stored.map(python).join(", ")}).mean(), n_prompts=pl.len())
    .sort("step", "component")
    .collect()
)
`;
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "components.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function showPolars() {
  const holder = document.getElementById("polars-line"), button = document.getElementById("polars");
  holder.hidden = !holder.hidden;
  button.setAttribute("aria-expanded", !holder.hidden);
  holder.textContent = polars();
  if (!holder.hidden) {
    getSelection().selectAllChildren(holder);
    navigator.clipboard?.writeText(holder.textContent).catch(() => {});
  }
}
