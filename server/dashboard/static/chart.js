// A line chart in SVG: series of [step, value], gaps where a value is missing, a cursor that reads all curves.

import { el, svg } from "./dom.js";
import { count, number } from "./format.js";

const HEIGHT = 240, GAP = 16, NARROWEST = 400, PADDING = 30; // as in the style sheet
const LEFT = 56, RIGHT = 12, TOP = 10, BOTTOM = 24;
const COLOURS = 8;
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];

// The colour and dash of a series; beyond the colours, dashes tell lines apart.
export const strokeOf = (index) => ({
  stroke: `var(--s${index % COLOURS})`,
  "stroke-dasharray": DASHES[Math.floor(index / COLOURS) % DASHES.length] || null,
});

// The width in pixels of one chart among others in `container`, so that text keeps its size.
export function widthIn(container) {
  const columns = container.classList.contains("one") ? 1 : Math.floor((container.clientWidth + GAP) / (NARROWEST + GAP)) || 1;
  return Math.max(280, Math.round((container.clientWidth - (columns - 1) * GAP) / columns - PADDING));
}

// series: [{ name, points: [[step, value or null], ...], index (of its colour; its place unless given) }]
export function lineChart(title, series, { isLog = false, smoothing = 0, width = 560 } = {}) {
  const drawn = series.map((each, place) => ({
    ...each,
    index: each.index ?? place,
    points: smooth(each.points, smoothing).map(([x, y]) => [x, isLog && !(y > 0) ? null : y]),
  }));
  const scale = scales(drawn, isLog, width);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label(title, series) });
  picture.append(...axes(scale), ...drawn.map((each) => curve(each, scale)));
  const values = drawn.map(() => el("b"));
  const key = drawn.map((each, i) => el("li", {}, sample(each.index), each.name, values[i]));
  const step = el("li");
  addCursor(picture, drawn, scale, values, step);
  return el("figure", { class: "chart card" }, el("h3", {}, title), picture, el("ul", { class: "key" }, ...key, step));
}

function label(title, series) {
  const last = series.map((each) => `${each.name}: last ${number(each.points.at(-1)?.[1])}`);
  return `Line chart of ${title}. ${last.join("; ")}`;
}

// Exponential moving average, corrected for its beginning; missing values stay missing.
function smooth(points, weight) {
  if (!weight) return points;
  let mean = 0, sum = 0;
  return points.map(([x, y]) => {
    if (y == null) return [x, y];
    mean = weight * mean + (1 - weight) * y;
    sum = weight * sum + (1 - weight);
    return [x, mean / sum];
  });
}

function scales(series, isLog, width) {
  const known = series.flatMap((each) => each.points).filter(([, y]) => y != null);
  const change = isLog ? Math.log10 : (y) => y;
  let [left, right] = range(known.map(([x]) => x));
  let [low, high] = range(known.map(([, y]) => change(y)));
  if (left === right) right = left + 1;
  const margin = (high - low || Math.abs(high) || 1) * 0.06;
  [low, high] = [low - margin, high + margin];
  return {
    isLog, left, right, low, high, width, isEmpty: !known.length,
    x: (step) => LEFT + ((step - left) / (right - left)) * (width - LEFT - RIGHT),
    y: (value) => HEIGHT - BOTTOM - ((change(value) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM),
    step: (x) => left + ((x - LEFT) / (width - LEFT - RIGHT)) * (right - left),
  };
}

function range(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return low <= high ? [low, high] : [0, 1];
}

// Round numbers 1, 2 or 5 times a power of ten, about `most` of them between low and high.
function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  const first = Math.ceil(low / size);
  const found = [];
  for (let i = first; i * size <= high + size * 1e-9; i += 1) found.push(Number((i * size).toPrecision(12)));
  return found;
}

function axes(scale) {
  const parts = [];
  const rows = logTicks(scale) ?? ticks(scale.low, scale.high, 7).map((t) => (scale.isLog ? 10 ** t : t));
  for (const value of rows) {
    const y = scale.y(value);
    parts.push(svg("line", { x1: LEFT, x2: scale.width - RIGHT, y1: y, y2: y, class: "gridline" }));
    parts.push(svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, number(value)));
  }
  for (const step of ticks(scale.left, scale.right, Math.max(3, scale.width / 80)).filter(Number.isInteger)) {
    const anchor = scale.x(step) > scale.width - 30 ? "end" : "middle";
    parts.push(svg("text", { x: scale.x(step), y: HEIGHT - 7, "text-anchor": anchor }, count(step)));
  }
  const floor = HEIGHT - BOTTOM;
  parts.push(svg("line", { x1: LEFT, x2: scale.width - RIGHT, y1: floor, y2: floor, class: "axis" }));
  if (scale.isEmpty) parts.push(svg("text", { x: scale.width / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "no values"));
  return parts;
}

// Powers of ten where there are enough of them, otherwise null.
function logTicks(scale) {
  if (!scale.isLog || scale.high - scale.low < 2) return null;
  const stride = Math.ceil((scale.high - scale.low) / 6);
  const found = [];
  for (let power = Math.ceil(scale.low); power <= scale.high; power += stride) found.push(10 ** power);
  return found;
}

function curve(each, scale) {
  let path = "", isDown = false;
  for (const [x, y] of each.points) {
    if (y != null) path += `${isDown ? "L" : "M"}${scale.x(x).toFixed(1)} ${scale.y(y).toFixed(1)}`;
    isDown = y != null;
  }
  const group = svg("g", {}, svg("path", { d: path, class: "curve", ...strokeOf(each.index) }));
  if (each.points.length > 40) return group;
  for (const [x, y] of each.points) {
    if (y != null) group.append(svg("circle", { cx: scale.x(x), cy: scale.y(y), r: 3, fill: strokeOf(each.index).stroke }));
  }
  return group;
}

function sample(index) {
  return svg("svg", { class: "swatch", viewBox: "0 0 22 12", "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 22, y1: 6, y2: 6, "stroke-width": 3, ...strokeOf(index) }));
}

function addCursor(picture, series, scale, values, step) {
  const line = svg("line", { y1: TOP, y2: HEIGHT - BOTTOM, class: "cursor", visibility: "hidden" });
  picture.append(line);
  const show = (at) => {
    series.forEach((each, i) => {
      const point = at == null ? each.points.at(-1) : nearest(each.points, at);
      values[i].textContent = point ? number(point[1]) : "";
    });
    step.textContent = at == null ? "" : `at step ${count(Math.round(at))}`;
  };
  show(null);
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const x = Math.min(Math.max(((event.clientX - box.left) / box.width) * scale.width, LEFT), scale.width - RIGHT);
    for (const end of ["x1", "x2"]) line.setAttribute(end, x);
    line.setAttribute("visibility", "visible");
    show(scale.step(x));
  });
  picture.addEventListener("pointerleave", () => {
    line.setAttribute("visibility", "hidden");
    show(null);
  });
}

function nearest(points, step) {
  let low = 0, high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < step) low = middle + 1;
    else high = middle;
  }
  const before = points[low - 1];
  return before && step - before[0] < points[low][0] - step ? before : points[low];
}
