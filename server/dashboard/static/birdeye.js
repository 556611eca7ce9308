// A scene from above on a canvas: x points up, y to the left, as in the project's other pictures.

const RAMP = [[27, 47, 56], [31, 92, 87], [76, 159, 132], [164, 224, 196], [242, 255, 248]];
const FAINT = "#8a94a6", BACKGROUND = "#10141c", KEYPOINT = "#c9a2ff";
const RING_M = 20;

export class BirdEye {
  // view: as from /api/v1/scenes/{scene_id}
  constructor(canvas, view) {
    this.canvas = canvas;
    this.cells = view.cells;
    this.hasMetres = view.geometry != null;
    this.low = view.geometry?.low_m ?? [0, 0];
    this.cell = view.geometry?.cell_m ?? [1, 1];
    this.keypoints = this.hasMetres ? view.keypoints ?? [] : [];
    const [, rows, columns] = view.cells.shape;
    const high = [this.low[0] + columns * this.cell[0], this.low[1] + rows * this.cell[1]];
    const edge = 0.025 * Math.max(high[0] - this.low[0], high[1] - this.low[1]);
    const ego = this.hasMetres ? [0, 0] : high; // the sensor belongs into the picture
    this.from = [Math.min(this.low[0], ego[0]) - edge, Math.min(this.low[1], ego[1]) - edge];
    this.to = [Math.max(high[0], ego[0]) + edge, Math.max(high[1], ego[1]) + edge];
    const ordered = [...view.cells.value].sort((a, b) => a - b);
    this.brightest = ordered[Math.floor(ordered.length * 0.99)] || ordered.at(-1) || 1;
  }

  // boxes: [{ box: [x y z length width height yaw], colour, isChosen }]
  draw(boxes) {
    const width = this.canvas.clientWidth || 600;
    const density = window.devicePixelRatio || 1;
    const height = (width * (this.to[0] - this.from[0])) / (this.to[1] - this.from[1]);
    [this.canvas.width, this.canvas.height] = [Math.round(width * density), Math.round(height * density)];
    this.scale = width / (this.to[1] - this.from[1]);
    const pen = this.canvas.getContext("2d", { willReadFrequently: true });
    pen.setTransform(density, 0, 0, density, 0, 0);
    pen.fillStyle = BACKGROUND;
    pen.fillRect(0, 0, width, height);
    this.drawCells(pen);
    if (this.hasMetres) this.drawRings(pen);
    pen.fillStyle = KEYPOINT;
    for (const [x, y] of this.keypoints) pen.fillRect(...this.place(x, y).map((p) => p - 0.75), 1.5, 1.5);
    for (const each of boxes) this.drawBox(pen, each);
    if (this.hasMetres) this.drawEgo(pen);
    this.drawScaleBar(pen, width, height);
    this.note(pen, boxes.length);
  }

  place(x, y) {
    return [(this.to[1] - y) * this.scale, (this.to[0] - x) * this.scale];
  }

  // The position under a pointer event, in metres (or cells).
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [this.to[0] - (event.clientY - box.top) / this.scale, this.to[1] - (event.clientX - box.left) / this.scale];
  }

  // The mean absolute activation of the cell at (x, y), or null.
  valueAt(x, y) {
    const column = Math.floor((x - this.low[0]) / this.cell[0]), row = Math.floor((y - this.low[1]) / this.cell[1]);
    const index = this.cells.x.findIndex((each, i) => each === column && this.cells.y[i] === row);
    return index < 0 ? null : this.cells.value[index];
  }

  drawCells(pen) {
    const { x, y, value } = this.cells;
    const high = this.cell[0] * this.scale, wide = this.cell[1] * this.scale;
    for (let i = 0; i < x.length; i += 1) {
      pen.fillStyle = rampColour(value[i] / this.brightest);
      const [left, top] = this.place(this.low[0] + (x[i] + 1) * this.cell[0], this.low[1] + (y[i] + 1) * this.cell[1]);
      pen.fillRect(left, top, wide + 0.3, high + 0.3);
    }
  }

  drawRings(pen) {
    pen.strokeStyle = pen.fillStyle = FAINT;
    pen.font = "11px system-ui, sans-serif";
    const farthest = Math.hypot(Math.max(this.to[0], -this.from[0]), Math.max(this.to[1], -this.from[1]));
    for (let radius = RING_M; radius < farthest; radius += RING_M) {
      pen.globalAlpha = 0.5;
      pen.lineWidth = 1;
      pen.beginPath();
      pen.arc(...this.place(0, 0), radius * this.scale, 0, 2 * Math.PI);
      pen.stroke();
      pen.globalAlpha = 1;
      const [x, y] = this.place(radius, 0);
      pen.lineWidth = 3;
      pen.strokeStyle = BACKGROUND;
      pen.strokeText(`${radius} m`, x + 3, y - 3);
      pen.strokeStyle = FAINT;
      pen.fillText(`${radius} m`, x + 3, y - 3);
    }
  }

  drawBox(pen, { box, colour, isChosen }) {
    const ring = corners(box).map(([x, y]) => this.place(x, y));
    const front = [(ring[0][0] + ring[3][0]) / 2, (ring[0][1] + ring[3][1]) / 2];
    const centre = this.place(box[0], box[1]);
    for (const [style, width] of [[BACKGROUND, isChosen ? 7 : 4.5], [colour, isChosen ? 4 : 2]]) {
      pen.strokeStyle = style;
      pen.lineWidth = width;
      pen.beginPath();
      ring.forEach((point, i) => (i ? pen.lineTo(...point) : pen.moveTo(...point)));
      pen.closePath();
      pen.moveTo(...centre);
      pen.lineTo(...front);
      pen.stroke();
    }
  }

  drawEgo(pen) {
    const [x, y] = this.place(0, 0);
    pen.fillStyle = "#ffffff";
    pen.beginPath();
    pen.moveTo(x, y - 8);
    pen.lineTo(x + 6, y + 6);
    pen.lineTo(x - 6, y + 6);
    pen.fill();
  }

  drawScaleBar(pen, width, height) {
    const length = 10 * this.scale * (this.hasMetres ? 1 : this.cell[1]);
    const right = width - 14, low = height - 14;
    pen.strokeStyle = pen.fillStyle = "#ffffff";
    pen.lineWidth = 3;
    pen.beginPath();
    pen.moveTo(right - length, low);
    pen.lineTo(right, low);
    pen.stroke();
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "right";
    pen.fillText(this.hasMetres ? "10 m" : "10 cells", right, low - 7);
    pen.textAlign = "left";
  }

  // What was drawn, for tests and for scripts: how many pixels differ from the background.
  note(pen, boxes) {
    const { data } = pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
    let lit = 0;
    for (let i = 0; i < data.length; i += 4) lit += data[i] !== 16 || data[i + 1] !== 20 || data[i + 2] !== 28;
    Object.assign(this.canvas.dataset, { drawnPixels: lit, drawnBoxes: boxes, drawnCells: this.cells.x.length });
  }
}

// Corners on the ground: front left, rear left, rear right, front right.
export function corners([x, y, , length, width, , yaw]) {
  const [c, s] = [Math.cos(yaw), Math.sin(yaw)];
  return [[1, 1], [-1, 1], [-1, -1], [1, -1]].map(([u, v]) => {
    const [ahead, left] = [(u * length) / 2, (v * width) / 2];
    return [x + c * ahead - s * left, y + s * ahead + c * left];
  });
}

// Whether (x, y) lies on the box, or within `reach` of it.
export function isOver([bx, by, , length, width, , yaw], x, y, reach) {
  const ahead = Math.cos(yaw) * (x - bx) + Math.sin(yaw) * (y - by);
  const left = -Math.sin(yaw) * (x - bx) + Math.cos(yaw) * (y - by);
  return Math.abs(ahead) <= length / 2 + reach && Math.abs(left) <= width / 2 + reach;
}

function rampColour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const index = Math.min(Math.floor(place), RAMP.length - 2);
  const mixed = RAMP[index].map((low, i) => Math.round(low + (RAMP[index + 1][i] - low) * (place - index)));
  return `rgb(${mixed.join(" ")})`;
}
