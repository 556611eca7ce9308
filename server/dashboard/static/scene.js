// One stored scene from above, with its detections.

import { attempt, get } from "./api.js";
import { BirdEye, isOver } from "./birdeye.js";
import { byId, el, showFacts, showTable } from "./dom.js";
import { bytes, count, number, short, time } from "./format.js";

const id = new URLSearchParams(location.search).get("id") ?? "";
byId("id").textContent = short(id);

function foundIn({ boxes, scores, labels, classes }) {
  return (boxes ?? []).map((box, i) => ({ box, score: scores[i], ...classes[labels[i]], rank: i + 1 }));
}

const COLUMNS = [
  { title: "Class", cell: (row) => el("span", {}, swatch(row.colour), " ", row.name) },
  { title: "Score", isNumber: true, cell: (row) => row.score.toFixed(2) },
  { title: "x m", isNumber: true, cell: (row) => row.box[0].toFixed(1) },
  { title: "y m", isNumber: true, cell: (row) => row.box[1].toFixed(1) },
  { title: "Size m", isNumber: true, cell: (row) => row.box.slice(3, 6).map((v) => v.toFixed(1)).join(" × ") },
];

function swatch(colour) {
  const sample = el("canvas", { class: "swatch", width: 22, height: 12, "aria-hidden": "true" });
  const pen = sample.getContext("2d");
  [pen.fillStyle, pen.strokeStyle, pen.lineWidth] = ["#10141c", colour, 3];
  pen.fillRect(0, 0, 22, 12);
  pen.strokeRect(3, 3, 16, 6);
  return sample;
}

function showAbout({ scene, cells, keypoints }) {
  showFacts(byId("about"), {
    Vehicle: el("span", { class: "mono" }, scene.vehicle),
    Frame: scene.frame_id,
    Taken: time(scene.taken_at),
    Stored: time(scene.stored_at),
    Codec: `${scene.codec}, ${bytes(scene.payload_bytes)}`,
    Layer: `${scene.split_layer}, map ${cells.shape.join(" × ")}, ${cells.channels} channels`,
    "Active cells": `${count(cells.active)}, ${count(cells.x.length)} seen from above`,
    Keypoints: keypoints ? count(keypoints.length) : "none",
    Scene: el("code", {}, scene.scene_id),
    Backbone: el("code", {}, scene.backbone_hash),
    Payload: el("code", {}, scene.payload_sha256),
  });
}

function showLegend({ detections, keypoints, geometry }, brightest) {
  const parts = [el("span", {}, "0 ", el("span", { class: "ramp" }), ` ${number(brightest)} mean |activation|`)];
  for (const each of detections.classes ?? []) parts.push(el("span", {}, swatch(each.colour), each.name));
  if (geometry) parts.push(el("span", {}, "▲ the sensor"));
  if (geometry && keypoints?.length) parts.push(el("span", {}, "· keypoints (violet)"));
  if (!geometry) {
    const lacking = keypoints?.length ? ", and the keypoints cannot be placed" : "";
    parts.push(el("span", {}, `without its checkpoint the cells' size in metres is not known${lacking}`));
  }
  byId("legend").replaceChildren(...parts);
}

function showView(view) {
  const picture = new BirdEye(byId("view"), view);
  const all = foundIn(view.detections);
  let shown = [], chosen = null;

  const draw = () => picture.draw(shown.map((each) => ({ ...each, isChosen: each === chosen })));
  const choose = () => {
    const threshold = Number(byId("threshold").value);
    byId("threshold-value").textContent = threshold.toFixed(2);
    shown = all.filter((each) => each.score >= threshold);
    if (all.length) showTable(byId("detections"), COLUMNS, shown, `all ${all.length} have lower scores`);
    draw();
  };
  const point = (event) => {
    const [x, y] = picture.at(event);
    const over = shown.find((each) => isOver(each.box, x, y, 3 / picture.scale)) ?? null;
    byId("under").textContent = describe(view, picture, x, y, over);
    if (over === chosen) return;
    chosen = over;
    draw();
    [...byId("detections").querySelectorAll("tbody tr")].forEach((row, i) => {
      row.classList.toggle("chosen", shown[i] != null && shown[i] === chosen);
    });
  };

  byId("shown").hidden = false;
  showAbout(view);
  showLegend(view, picture.brightest);
  const { reason, weights } = view.detections;
  byId("reason").textContent = reason ?? `${count(all.length)} boxes by ${weights}.`;
  byId("threshold-label").hidden = !all.length;
  byId("threshold").addEventListener("input", choose);
  byId("view").addEventListener("pointermove", point);
  byId("view").addEventListener("pointerdown", point);
  window.addEventListener("resize", draw);
  choose();
}

function describe(view, picture, x, y, over) {
  const unit = picture.hasMetres ? "m" : "cells";
  const value = picture.valueAt(x, y);
  const place = `x ${x.toFixed(1)}, y ${y.toFixed(1)} ${unit}; cell ${value == null ? "not active" : number(value)}`;
  return over ? `${over.name}, score ${over.score.toFixed(2)} · ${place}` : place;
}

attempt(async () => showView(await get(`scenes/${encodeURIComponent(id)}`)));
