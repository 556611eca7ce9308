// One run: its record, live curves of what it logs, curves of its evaluations.

import { get, poll } from "./api.js";
import { lineChart, widthIn } from "./chart.js";
import { Curves, grouped, pointsOf } from "./curves.js";
import { byId, el, showFacts, showOptions, showTable } from "./dom.js";
import { count, number, short, time } from "./format.js";
import { progress, state } from "./run_parts.js";

const id = new URLSearchParams(location.search).get("id") ?? "";
const path = `runs/${encodeURIComponent(id)}`;
const curves = new Curves(id);
let evaluations = null, lastStep = 0, updates = 0;

function showRecord(run) {
  byId("title").textContent = run.name;
  byId("state").replaceChildren(state(run), " · ", progress(run), ` · ${run.recipe}, seed ${run.seed}`);
  byId("message").textContent = run.message;
  byId("message").hidden = !run.message;
  showFacts(byId("about"), {
    Run: el("code", {}, run.run_id),
    Started: time(run.created_at),
    "Last sign of life": time(run.heartbeat_at),
    "Run file SHA-256": el("code", {}, run.run_file_sha256),
    "Code version": run.code_version || null,
    Folder: run.folder || null,
  });
  if (byId("run-file").textContent !== run.run_file) byId("run-file").textContent = run.run_file;
}

function drawScalars() {
  const style = { isLog: byId("log-scale").checked, smoothing: Number(byId("smoothing").value), width: widthIn(byId("scalars")) };
  const groups = grouped(curves.byName.keys());
  byId("no-scalars").hidden = groups.length > 0;
  byId("scalars").replaceChildren(...groups.map(([group, names]) =>
    lineChart(group, names.map((name) => ({ name: name.slice(group.length + 1) || name, points: curves.points(name) })), style)));
}

// Paths such as ap_r40/car/3d/moderate: the first part is chosen, the last one too where all paths have the same depth;
// one chart for each second part, one curve for each of what is left.
function drawEvaluations() {
  const paths = Object.keys(evaluations.curves).map((name) => name.split("/"));
  byId("no-evaluations").hidden = paths.length > 0;
  const measures = [...new Set(paths.map((each) => each[0]))];
  showOptions(byId("measure"), measures, measures.find((each) => /^ap_all|^ap/i.test(each)) ?? measures[0]);
  const isCount = (each) => each.length > 1 && each.at(-1) === "objects"; // not on one scale with scores
  const ofMeasure = paths.filter((each) => each[0] === byId("measure").value && !isCount(each));
  const levels = [...new Set(ofMeasure.filter((each) => each.length > 3).map((each) => each.at(-1)))];
  showOptions(byId("level"), levels, levels.includes("moderate") ? "moderate" : levels[0]);
  byId("level-label").hidden = levels.length < 2;
  const shown = ofMeasure.filter((each) => each.length <= 3 || each.at(-1) === byId("level").value);
  byId("evaluations").replaceChildren(...[...new Set(shown.map((each) => each[1] ?? each[0]))].map((group) => {
    const members = shown.filter((each) => (each[1] ?? each[0]) === group);
    return lineChart(group, members.map((each) => ({
      name: each.slice(2, each.length > 3 ? -1 : undefined).join(" ") || group,
      points: pointsOf(evaluations.curves[each.join("/")]),
    })), { width: widthIn(byId("evaluations")) });
  }));
}

function showFollowing(found) {
  byId("following").hidden = !found.rounds.length;
  byId("scene-states").textContent = found.scenes.map((each) => `${count(each.count)} ${each.state}`).join(" · ");
  showTable(byId("rounds"), [
    { title: "round", cell: (each) => each.number, isNumber: true },
    { title: "step", cell: (each) => count(each.last_step), isNumber: true },
    { title: "scenes", cell: (each) => count(each.scenes), isNumber: true },
    { title: "new", cell: (each) => count(each.admitted), isNumber: true },
    { title: "kept out", cell: (each) => count(each.quarantined), isNumber: true },
    { title: "removed", cell: (each) => count(each.removed), isNumber: true },
    { title: "AP", cell: (each) => each.scores.map((score) => `${score.name} ${number(score.value)}`).join(", ") },
    { title: "published", cell: (each) => (each.is_published ? "yes" : "no") },
    { title: "why", cell: (each) => each.why },
  ], [...found.rounds].reverse());
  const said = (reason) => (reason.value == null || reason.expected == null ? reason.statistic
    : `${reason.statistic} ${number(reason.value)}, expected about ${number(reason.expected)}`);
  showTable(byId("quarantine"), [
    { title: "scene", cell: (each) => el("a", { href: `/scene?id=${each.scene_id}` }, short(each.scene_id)) },
    { title: "vehicle", cell: (each) => each.vehicle },
    { title: "round", cell: (each) => each.round, isNumber: true },
    { title: "why", cell: (each) => each.reasons.map(said).join("; ") },
  ], found.quarantine, "no scene is kept out");
}

for (const name of ["log-scale", "smoothing"]) byId(name).addEventListener("input", drawScalars);
for (const name of ["measure", "level"]) byId(name).addEventListener("change", drawEvaluations);

window.addEventListener("resize", () => {
  drawScalars();
  if (evaluations) drawEvaluations();
});

poll(async () => {
  const run = await get(path);
  showRecord(run);
  if (run.step < lastStep) curves.clear(); // resumed from an earlier checkpoint: what follows is written anew
  lastStep = run.step;
  if (await curves.update()) {
    drawScalars();
    byId("scalars").dataset.updates = updates += 1; // for tests: how often new points came
  }
  showFollowing(await get(`${path}/following`));
  const found = await get(`${path}/evaluations`);
  if (JSON.stringify(found) !== JSON.stringify(evaluations)) {
    evaluations = found;
    drawEvaluations();
  }
});
