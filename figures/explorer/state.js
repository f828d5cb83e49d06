// The state of the view, which the address holds: `#model=...&task=...&step=...&keep=L0H1,L1MLP`.

const SETTINGS = ["model", "dtype", "control", "task", "n_shots"];
const state = { group: 0, template: "", form: "raw", step: 0, keep: [], hide: ["B1"], pointed: null };

function group() {
  return index.groups[state.group];
}

/** The first group that agrees with the wanted settings, the more important ones first. */
function nearestGroup(wanted) {
  let among = index.groups.map((_, i) => i);
  const missed = [];
  for (const name of SETTINGS) {
    if (wanted[name] === undefined) continue;
    const agree = among.filter((i) => String(index.groups[i][name]) === String(wanted[name]));
    if (agree.length) among = agree;
    else missed.push(`${name} ${wanted[name]}`);
  }
  const plain = among.filter((i) => index.groups[i].control === "none");
  return [wanted.control === undefined && plain.length ? plain[0] : among[0], missed];
}

/** Takes the state from the address; what the results lack is returned, as words. */
function readAddress() {
  const wanted = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  if (!SETTINGS.some((name) => name in wanted)) return [];
  const [found, missed] = nearestGroup(wanted);
  state.group = found;
  const names = componentNames();
  const list = (text) => (text ? text.split(",") : []);
  state.template = wanted.template ?? "";
  if (!(state.template in group().templates)) {
    missed.push(`template ${state.template}`);
    state.template = "";
  }
  state.form = wanted.form === "centred" ? "centred" : "raw";
  state.keep = list(wanted.keep).filter((name) => names.includes(name) || void missed.push(`component ${name}`));
  if ("hide" in wanted) state.hide = list(wanted.hide);
  const at = group().steps.indexOf(Number(wanted.step));
  if (wanted.step !== undefined && at < 0) missed.push(`step ${wanted.step}`);
  state.step = at < 0 ? group().steps.length - 1 : at;
  return missed;
}

function writeAddress() {
  const current = group();
  const pairs = SETTINGS.map((name) => [name, current[name]]);
  pairs.push(["template", state.template], ["form", state.form], ["step", current.steps[state.step]]);
  pairs.push(["keep", state.keep.join(",")], ["hide", state.hide.join(",")]);
  history.replaceState(null, "", `#${new URLSearchParams(pairs)}`);
}

function componentNames() {
  return index.components[group().components][0];
}

/** Keeps the step where another group has it, or the last one before it. */
function moveTo(found, step) {
  state.group = found;
  const steps = group().steps;
  state.step = Math.max(0, steps.findLastIndex((other) => other <= step));
  if (!(state.template in group().templates)) state.template = "";
  const names = componentNames();
  state.keep = state.keep.filter((name) => names.includes(name));
  state.pointed = null;
  decoded.clear();
}
