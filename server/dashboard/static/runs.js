// The list of runs, live; checkboxes choose which ones to compare.

import { get, poll } from "./api.js";
import { byId, el, showTable } from "./dom.js";
import { time } from "./format.js";
import { address, progress, state } from "./run_parts.js";

const chosen = new Set();

function box(run) {
  const input = el("input", {
    type: "checkbox", name: "id", value: run.run_id, checked: chosen.has(run.run_id), "aria-label": `compare ${run.name}`,
  });
  input.addEventListener("change", () => {
    chosen[input.checked ? "add" : "delete"](run.run_id);
    byId("compare").disabled = !chosen.size;
  });
  return input;
}

const COLUMNS = [
  { title: "", cell: box },
  { title: "Run", cell: (run) => el("a", { href: address(run), title: run.run_id }, run.name) },
  { title: "State", cell: state },
  { title: "Progress", cell: progress },
  { title: "Recipe", cell: (run) => run.recipe },
  { title: "Seed", isNumber: true, cell: (run) => String(run.seed) },
  { title: "Started", cell: (run) => time(run.created_at) },
];
let shown = "";

poll(async () => {
  const { runs } = await get("runs");
  byId("empty").hidden = runs.length > 0;
  const text = JSON.stringify(runs.map(({ heartbeat_at: _, ...rest }) => rest));
  if (runs.length && text !== shown) showTable(byId("runs"), COLUMNS, runs);
  shown = text;
});
