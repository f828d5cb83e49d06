// The three charts as Vega specifications. Colours are the page's, so that they follow its light or dark scheme.

const KEPT = ["#AA3377", "#999933", "#7B5FC0", "#CC6677", "#44AA99", "#A0522D"];
const KEPT_DASHES = [[], [6, 3], [2, 2]];

function keptColour(i) {
  return KEPT[i % KEPT.length];
}

function theme() {
  const style = getComputedStyle(document.getElementById("explorer"));
  const of = (name) => style.getPropertyValue(name).trim();
  return { ink: of("--ink"), faint: of("--faint"), line: of("--line"), paper: of("--paper"), shade: of("--shade"),
    above: of("--above"), below: of("--below"), font: style.fontFamily };
}

function config(colours) {
  const text = { labelFont: colours.font, titleFont: colours.font, labelFontSize: 11, titleFontSize: 11 };
  return {
    background: "transparent",
    axis: { ...text, domainColor: colours.line, tickColor: colours.line, gridColor: colours.line, gridOpacity: 0.55,
      labelColor: colours.faint, titleColor: colours.faint, titleFontWeight: "normal", titlePadding: 6, tickSize: 4,
      labelPadding: 4 },
    text: { font: colours.font, fontSize: 11 },
  };
}

function base(height, rest) {
  const resize = { source: "window", type: "resize" };
  const width = { name: "width", init: "containerSize()[0]", on: [{ events: resize, update: "containerSize()[0]" }] };
  return { autosize: { type: "fit", contains: "padding", resize: true }, height, padding: { top: 4, bottom: 4, left: 0, right: 2 }, ...rest,
    signals: [width, ...(rest.signals ?? [])] };
}

function update(channels) {
  return { update: channels };
}

const X = { scale: "x", field: "x" };

function curvesSpec(colours) {
  const lines = (name, extra) => ({
    type: "group",
    from: { facet: { name: `${name}-of`, data: name, groupby: "key" } },
    marks: [
      { type: "area", from: { data: `${name}-of` }, encode: update({ x: X, y: { scale: "y", field: "low" },
        y2: { scale: "y", field: "high" }, fill: { field: "colour" }, fillOpacity: { value: 0.14 },
        defined: { signal: "isValid(datum.low) && !datum.zero" } }) },
      { type: "rule", from: { data: `${name}-of` }, encode: update({ x: X, y: { scale: "y", field: "low" },
        y2: { scale: "y", field: "high" }, stroke: { field: "colour" },
        opacity: { signal: "datum.zero && isValid(datum.low) ? 0.5 : 0" } }) },
      { type: "line", from: { data: `${name}-of` }, encode: update({ x: X, y: { scale: "y", field: "y" },
        stroke: { field: "colour" }, strokeWidth: { field: "width" }, strokeDash: { field: "dash" },
        strokeOpacity: { field: "opacity" }, strokeJoin: { value: "round" },
        defined: { signal: "isValid(datum.y) && !datum.zero" } }) },
      { type: "symbol", from: { data: `${name}-of` }, encode: update({ x: X, y: { scale: "y", field: "y" },
        fill: { field: "colour" }, size: { signal: "datum.zero || datum.alone ? 26 : 0" },
        opacity: { signal: "isValid(datum.y) ? datum.opacity : 0" } }) },
      ...(extra ?? []),
    ],
  });
  const label = { type: "text", from: { data: "traces-of" }, encode: update({ x: X, y: { scale: "y", field: "labelY" },
    dx: { value: 5 }, baseline: { value: "middle" }, text: { signal: "datum.last ? datum.key : ''" },
    fill: { field: "colour" }, fontWeight: { value: 600 } }) };
  const nearest = "round(pow(2, datum.value))";
  const words = `datum.value < zero + 0.25 ? '0' : ${nearest} >= 1000 && ${nearest} % 1000 == 0 ? ` +
    `${nearest} / 1000 + 'k' : '' + ${nearest}`;
  return base(230, {
    signals: [{ name: "domain", value: [0, 1] }, { name: "ticks", value: [] }, { name: "zero", value: -9 },
      { name: "at", value: 0 }, { name: "chance", value: 0.5 }],
    data: [{ name: "curves" }, { name: "traces" }, { name: "null" }],
    scales: [{ name: "x", domain: { signal: "domain" }, range: "width", zero: false },
      { name: "y", domain: [0, 1], range: "height" }],
    axes: [
      { scale: "y", orient: "left", grid: true, values: [0, 0.25, 0.5, 0.75, 1], format: ".2~f", title: "test accuracy" },
      { scale: "x", orient: "bottom", values: { signal: "ticks" }, title: "training step (log scale; step 0 apart)",
        encode: { labels: update({ text: { signal: words } }) }, labelOverlap: true },
    ],
    marks: [
      { type: "area", from: { data: "null" }, encode: update({ x: X, y: { scale: "y", signal: "chance" },
        y2: { scale: "y", field: "y" }, fill: { value: colours.faint }, fillOpacity: { value: 0.16 },
        defined: { signal: "isValid(datum.y) && !datum.zero" } }) },
      { type: "rule", encode: update({ x: { value: 0 }, x2: { signal: "width" }, y: { scale: "y", signal: "chance" },
        stroke: { value: colours.faint }, strokeDash: { value: [5, 4] }, strokeWidth: { value: 0.8 } }) },
      { type: "rule", encode: update({ x: { scale: "x", signal: "at" }, y: { value: 0 }, y2: { signal: "height" },
        stroke: { value: colours.ink }, strokeWidth: { value: 1 }, opacity: { value: 0.7 } }) },
      lines("curves"),
      lines("traces", [label]),
    ],
  });
}

/** A map of layers (rows, the first at the bottom) by heads and, apart, MLPs. */
function mapSpec(colours, height) {
  const cell = { x: { scale: "x", field: "x" }, y: { scale: "y", field: "layer" },
    width: { signal: "max(1, bandwidth('x') - gap)" }, height: { signal: "max(1, bandwidth('y') - gap)" } };
  const outline = (name, colour, width) => ({ type: "rect", interactive: false, from: { data: name },
    encode: update({ ...cell, stroke: colour, strokeWidth: { value: width }, fill: { value: null } }) });
  const every = (scale) => `bandwidth('${scale}') < 16`;
  return base(height, {
    signals: [{ name: "columns", value: [] }, { name: "layers", value: [] },
      { name: "gap", update: "bandwidth('x') > 8 && bandwidth('y') > 8 ? 1.5 : 0.4" }],
    data: [{ name: "cells" }, { name: "kept" }, { name: "pointed" }],
    scales: [
      { name: "x", type: "band", domain: { signal: "columns" }, range: "width" },
      { name: "y", type: "band", domain: { signal: "layers" }, range: [{ signal: "height" }, 0] },
      { name: "colour", type: "linear", domain: [-1, -0.5, 0, 0.5, 1], clamp: true, interpolate: "lab",
        range: colourRange(colours) },
    ],
    axes: [
      { scale: "y", orient: "left", domain: false, ticks: false, title: "layer",
        encode: { labels: update({ opacity: { signal: `${every("y")} && datum.value % 4 ? 0 : 1` } }) } },
      { scale: "x", orient: "bottom", domain: false, ticks: false, title: "head",
        encode: { labels: update({ opacity: { signal:
          `${every("x")} && isFinite(+datum.value) && datum.value % 4 ? 0 : datum.value[0] == ' ' ? 0 : 1` } }) } },
    ],
    marks: [
      { type: "rect", from: { data: "cells" }, encode: update({ ...cell,
        fill: { signal: `isValid(datum.above) ? scale('colour', datum.above) : '${colours.shade}'` } }) },
      { type: "text", interactive: false, from: { data: "cells" }, encode: update({
        x: { scale: "x", field: "x", band: 0.5 }, y: { scale: "y", field: "layer", band: 0.5 },
        align: { value: "center" }, baseline: { value: "middle" },
        text: { signal: "bandwidth('x') > 27 && bandwidth('y') > 17 ? datum.words : ''" },
        fill: { signal: `abs(datum.above) > 0.6 ? '#fff' : '${colours.ink}'` } }) },
      outline("kept", { field: "colour" }, 2.5),
      outline("pointed", { value: colours.ink }, 2),
    ],
  });
}

function colourRange({ below, shade, above }) {
  const between = (colour) => `color-mix(in srgb, ${colour} 55%, ${shade})`;
  return [below, resolved(between(below)), shade, resolved(between(above)), above];
}

/** A CSS colour as the numbers that Vega reads. */
function resolved(colour) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return `rgb(${[...context.getImageData(0, 0, 1, 1).data].slice(0, 3)})`;
}

/** Accuracy against the share of one answer; the outline is what balanced rows allow. */
function diamondSpec(colours, height) {
  const place = { x: X, y: { scale: "y", field: "y" } };
  const ring = (name, colour, size) => ({ type: "symbol", interactive: false, from: { data: name }, encode: update({
    ...place, shape: { field: "shape" }, size: { value: size }, fill: colour, stroke: { value: colours.paper },
    strokeWidth: { value: 1 } }) });
  return base(height, {
    signals: [{ name: "words", value: "" }, { name: "first", value: 0 }, { name: "chance", value: 0.5 }],
    data: [{ name: "points" }, { name: "kept" }, { name: "pointed" }, { name: "outline" }],
    scales: [{ name: "x", domain: { signal: "[first, 1]" }, range: "width", zero: false },
      { name: "y", domain: [0, 1], range: "height" }],
    axes: [
      { scale: "y", orient: "left", grid: true, tickCount: 5, format: ".2~f", title: "test accuracy" },
      { scale: "x", orient: "bottom", tickCount: 5, format: ".2~f", title: { signal: "words" } },
    ],
    marks: [
      { type: "line", interactive: false, from: { data: "outline" }, encode: update({ ...place,
        stroke: { value: colours.faint }, strokeWidth: { value: 0.9 }, opacity: { value: 0.7 } }) },
      { type: "rule", encode: update({ x: { value: 0 }, x2: { signal: "width" }, y: { scale: "y", signal: "chance" },
        stroke: { value: colours.faint }, strokeDash: { value: [5, 4] }, strokeWidth: { value: 0.8 } }) },
      { type: "symbol", interactive: false, from: { data: "points" }, encode: update({ ...place,
        shape: { field: "shape" }, size: { field: "size" }, fill: { field: "colour" }, opacity: { field: "opacity" },
        stroke: { value: colours.paper }, strokeWidth: { value: 0.4 } }) },
      ring("kept", { field: "colour" }, 90),
      ring("pointed", { value: colours.ink }, 110),
    ],
  });
}
