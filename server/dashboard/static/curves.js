// Curves of a run as they come from the API, kept by name, and brought up to date step by step.

import { get } from "./api.js";

export class Curves {
  constructor(runId) {
    this.path = `runs/${encodeURIComponent(runId)}/scalars`;
    this.clear();
  }

  clear() {
    this.byName = new Map();
    this.last = -1;
  }

  // Fetches what came after the last step seen; that step itself once more, for other names may still have come at it.
  // Returns whether anything changed.
  async update(names = null) {
    const parameters = { after_step: this.last < 0 ? -1 : this.last - 1 };
    if (names) parameters.name = names;
    const { curves } = await get(this.path, parameters);
    let isChanged = false;
    for (const [name, { steps, values }] of Object.entries(curves)) {
      const known = this.byName.get(name) ?? this.byName.set(name, new Map()).get(name);
      steps.forEach((step, i) => {
        isChanged ||= known.get(step) !== values[i] || !known.has(step);
        known.set(step, values[i]);
        this.last = Math.max(this.last, step);
      });
    }
    return isChanged;
  }

  points(name) {
    return [...(this.byName.get(name) ?? [])].sort((a, b) => a[0] - b[0]);
  }
}

export const pointsOf = ({ steps, values }) => steps.map((step, i) => [step, values[i]]);

// [["loss", ["loss/box", "loss/total"]], ["lr", ["lr"]]]: names by what stands before the first "/".
export function grouped(names) {
  const groups = new Map();
  for (const name of [...names].sort()) {
    const group = name.split("/")[0];
    groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  return [...groups];
}
