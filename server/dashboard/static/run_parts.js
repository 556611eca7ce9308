// What several pages show of a run.

import { el } from "./dom.js";
import { count } from "./format.js";

export const address = (run) => `/run?id=${encodeURIComponent(run.run_id)}`;

export function state(run) {
  const kind = run.state === "stopped?" ? "silent" : run.state;
  const title = kind === "silent" ? "its process has not said for a minute that it lives" : null;
  return el("span", { class: `state ${kind}`, title }, run.state);
}

export function progress(run) {
  const steps = run.total_steps ? `${count(run.step)} / ${count(run.total_steps)}` : `${count(run.step)} steps`;
  if (!run.total_steps) return el("span", {}, steps);
  return el("span", {}, el("progress", { max: run.total_steps, value: run.step, "aria-label": "steps" }), ` ${steps}`);
}
