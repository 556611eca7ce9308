// Several runs on one chart: a number that they logged, or one of their evaluations.

import { get, poll } from "./api.js";
import { lineChart, widthIn } from "./chart.js";
import { Curves, pointsOf } from "./curves.js";
import { byId, el, showOptions, showTable } from "./dom.js";
import { count, number } from "./format.js";
import { address, state } from "./run_parts.js";

const asked = new URLSearchParams(location.search);
const chosen = new Set(asked.getAll("id"));
const scalars = new Map(); // run id: Curves
const evaluations = new Map(); // run id: curves by name
let runs = [];

function showChoice() {
  const known = [...byId("choice").querySelectorAll("input")].map((input) => input.value);
  if (known.join("\n") === runs.map((run) => run.run_id).join("\n")) return;
  const labels = runs.map((run) => {
    const input = el("input", { type: "checkbox", value: run.run_id, checked: chosen.has(run.run_id) });
    input.addEventListener("change", () => {
      chosen[input.checked ? "add" : "delete"](run.run_id);
      remember();
      update();
    });
    return el("label", {}, input, el("span", {}, run.name, el("small", {}, `${run.recipe}, seed ${run.seed}`)));
  });
  byId("choice").replaceChildren(byId("choice").querySelector("legend"), ...labels);
}

function remember() {
  const query = new URLSearchParams();
  for (const id of chosen) query.append("id", id);
  if (byId("curve").value) query.set("curve", byId("curve").value);
  history.replaceState(null, "", `?${query}`);
}

async function fetchCurves() {
  for (const { run_id: id } of runs.filter((run) => chosen.has(run.run_id))) {
    if (!scalars.has(id)) scalars.set(id, new Curves(id));
    await scalars.get(id).update();
    evaluations.set(id, (await get(`runs/${encodeURIComponent(id)}/evaluations`)).curves);
  }
}

function pointsFor(id, name) {
  const evaluated = evaluations.get(id)?.[name];
  return evaluated ? pointsOf(evaluated) : scalars.get(id)?.points(name) ?? [];
}

function draw() {
  const shown = runs.filter((run) => chosen.has(run.run_id) && scalars.has(run.run_id));
  const names = new Set(shown.flatMap(({ run_id: id }) => [...scalars.get(id).byName.keys(), ...Object.keys(evaluations.get(id) ?? {})]));
  const sorted = [...names].sort();
  const first = asked.get("curve") ?? sorted.find((name) => /total/.test(name)) ?? sorted[0];
  showOptions(byId("curve"), sorted, sorted.includes(first) ? first : sorted[0]);
  const name = byId("curve").value;
  byId("nothing").hidden = shown.length > 0;
  if (!shown.length || !name) {
    byId("chart").replaceChildren();
    byId("last").replaceChildren();
    return;
  }
  const style = { isLog: byId("log-scale").checked, smoothing: Number(byId("smoothing").value), width: widthIn(byId("chart")) };
  const series = shown.map((run) => ({ run, name: `${run.name}, seed ${run.seed}`, points: pointsFor(run.run_id, name), index: runs.length - 1 - runs.indexOf(run) }));
  byId("chart").replaceChildren(lineChart(name, series, style));
  showTable(byId("last"), [
    { title: "Run", cell: (each) => el("a", { href: address(each.run), title: each.run.run_id }, each.name) },
    { title: "State", cell: (each) => state(each.run) },
    { title: "Last step", isNumber: true, cell: (each) => (each.points.length ? count(each.points.at(-1)[0]) : null) },
    { title: "Last value", isNumber: true, cell: (each) => (each.points.length ? number(each.points.at(-1)[1]) : null) },
    { title: "Lowest", isNumber: true, cell: (each) => extreme(each.points, Math.min) },
    { title: "Highest", isNumber: true, cell: (each) => extreme(each.points, Math.max) },
  ], series);
}

function extreme(points, choose) {
  const known = points.map(([, value]) => value).filter((value) => value != null);
  return known.length ? number(known.reduce((a, b) => choose(a, b))) : null;
}

async function update() {
  runs = (await get("runs")).runs;
  byId("empty").hidden = runs.length > 0;
  showChoice();
  await fetchCurves();
  draw();
}

for (const name of ["log-scale", "smoothing"]) byId(name).addEventListener("input", draw);
byId("curve").addEventListener("change", () => {
  remember();
  draw();
});
window.addEventListener("resize", draw);
poll(update);
