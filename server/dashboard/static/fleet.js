// The overview: vehicles, totals, and the list of stored scenes, page by page.

import { attempt, get, poll } from "./api.js";
import { byId, el, showOptions, showTable } from "./dom.js";
import { bytes, count, short, time } from "./format.js";

const LIMIT = 25;
const asked = new URLSearchParams(location.search);
let offset = Math.max(0, Number.parseInt(asked.get("offset") ?? "0", 10) || 0);
let vehicle = asked.get("vehicle") ?? "";

const hash = (value) => el("code", { title: value }, short(value));
const several = (values, show) => el("span", {}, ...values.flatMap((v, i) => (i ? [", ", show(v)] : [show(v)])));

const VEHICLE_COLUMNS = [
  { title: "Vehicle", cell: (row) => el("a", { href: `?vehicle=${encodeURIComponent(row.vehicle)}`, class: "mono" }, row.vehicle) },
  { title: "Scenes", isNumber: true, cell: (row) => count(row.scenes) },
  { title: "Size", isNumber: true, cell: (row) => bytes(row.payload_bytes) },
  { title: "Last seen", cell: (row) => time(row.last_stored_at) },
  { title: "Codecs", cell: (row) => row.codecs.join(", ") },
  { title: "Backbones", cell: (row) => several(row.backbone_hashes, hash) },
];
const SCENE_COLUMNS = [
  { title: "Scene", cell: (row) => el("a", { href: `/scene?id=${row.scene_id}`, class: "mono" }, short(row.scene_id)) },
  { title: "Vehicle", cell: (row) => el("span", { class: "mono" }, row.vehicle) },
  { title: "Frame", cell: (row) => row.frame_id },
  { title: "Codec", cell: (row) => row.codec },
  { title: "Size", isNumber: true, cell: (row) => bytes(row.payload_bytes) },
  { title: "Stored", cell: (row) => time(row.stored_at) },
];

async function showFleet() {
  const fleet = await get("fleet");
  byId("totals").replaceChildren(
    ...[["Vehicles", count(fleet.vehicles.length)], ["Scenes", count(fleet.scenes)], ["Size", bytes(fleet.payload_bytes)]]
      .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
  showTable(byId("vehicles"), VEHICLE_COLUMNS, fleet.vehicles, "no vehicle has sent anything yet");
  const select = byId("vehicle");
  showOptions(select, ["", ...fleet.vehicles.map((each) => each.vehicle)], vehicle);
  select.options[0].textContent = "all";
}

async function showScenes() {
  const page = await get("scenes", { vehicle, offset, limit: LIMIT });
  showTable(byId("scenes"), SCENE_COLUMNS, page.scenes, "no scene is stored");
  const end = offset + page.scenes.length;
  byId("place").textContent = page.scenes.length ? `${count(offset + 1)}–${count(end)} of ${count(page.total)}` : "";
  byId("newer").disabled = offset === 0;
  byId("older").disabled = end >= page.total;
}

function turnTo(newVehicle, newOffset) {
  [vehicle, offset] = [newVehicle, Math.max(0, newOffset)];
  const query = new URLSearchParams();
  if (vehicle) query.set("vehicle", vehicle);
  if (offset) query.set("offset", offset);
  history.replaceState(null, "", query.size ? `?${query}` : location.pathname);
  return attempt(showScenes);
}

byId("vehicle").addEventListener("change", (event) => turnTo(event.target.value, 0));
byId("newer").addEventListener("click", () => turnTo(vehicle, offset - LIMIT));
byId("older").addEventListener("click", () => turnTo(vehicle, offset + LIMIT));
poll(async () => {
  await showFleet();
  await showScenes();
}, 5);
