"use strict";
// Turns each .view3d of the page into a view of two clouds. One WebGL context draws for all of them, because browsers
// allow few; each view is a plain canvas that the drawing is copied to. Without WebGL the still pictures stay.

const STEP_M = 0.01, HEIGHT_M = [-1, 3];
const BACKGROUND = [16 / 255, 20 / 255, 28 / 255];
const HEIGHTS = ["440154", "3b528b", "21918c", "5ec962", "fde725"];
const DISTANCES = ["fff5b0", "f8a43d", "d1495b", "6a3d9a", "33407a"];
const ORIGINAL = "7cc7ff", RECOVERED = "ff9d2e";
const START = { turn: Math.PI, tilt: 0.55, away: 28, x: 14, y: 0, z: 0 };

const VERTEX = `
attribute vec3 place; attribute float shade; uniform mat4 view; uniform float size, mode, ground;
uniform vec2 heights; uniform vec3 ramp[5]; uniform vec3 plain; varying vec3 colour;
vec3 along(float t) {
  t = clamp(t, 0.0, 1.0) * 4.0;
  vec3 c = mix(ramp[0], ramp[1], clamp(t, 0.0, 1.0));
  c = mix(c, ramp[2], clamp(t - 1.0, 0.0, 1.0));
  c = mix(c, ramp[3], clamp(t - 2.0, 0.0, 1.0));
  return mix(c, ramp[4], clamp(t - 3.0, 0.0, 1.0));
}
void main() {
  vec3 metres = place * ${STEP_M.toFixed(2)};
  gl_Position = view * vec4(metres, 1.0);
  gl_PointSize = clamp(size / gl_Position.w, 2.0, 8.0);
  float height = (metres.z - ground - heights.x) / (heights.y - heights.x);
  colour = mode < 0.5 ? along(height) : mode < 1.5 ? along(shade) : plain;
}`;
const FRAGMENT = "precision mediump float; varying vec3 colour; void main() { gl_FragColor = vec4(colour, 1.0); }";

const colour = (hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function shader(gl, kind, text) {
  const made = gl.createShader(kind);
  gl.shaderSource(made, text);
  gl.compileShader(made);
  return made;
}

// Column-major: a camera that looks at a point from a direction and a distance, and a lens of 50 degrees.
function camera(eye, ratio) {
  const [ct, st, cp, sp] = [Math.cos(eye.turn), Math.sin(eye.turn), Math.cos(eye.tilt), Math.sin(eye.tilt)];
  const right = [-st, ct, 0], up = [-ct * sp, -st * sp, cp], back = [ct * cp, st * cp, sp];
  const from = [eye.x + back[0] * eye.away, eye.y + back[1] * eye.away, eye.z + back[2] * eye.away];
  const dot = (axis) => -(axis[0] * from[0] + axis[1] * from[1] + axis[2] * from[2]);
  const f = 1 / Math.tan((25 * Math.PI) / 180), near = 0.2, far = 600;
  const a = (far + near) / (near - far), b = (2 * far * near) / (near - far);
  const rows = [[...right, dot(right)].map((v) => (v * f) / ratio), [...up, dot(up)].map((v) => v * f)];
  const depth = [...back, dot(back)];
  rows.push(depth.map((v, at) => v * a + (at === 3 ? b : 0)), depth.map((v) => -v));
  return new Float32Array([0, 1, 2, 3].flatMap((column) => rows.map((row) => row[column])));
}

class Painter {
  constructor() {
    this.canvas = document.createElement("canvas");
    const gl = this.canvas.getContext("webgl", { antialias: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("no WebGL");
    const program = gl.createProgram();
    gl.attachShader(program, shader(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, shader(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("the drawing program does not link");
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    this.gl = gl;
    this.uniform = (name) => gl.getUniformLocation(program, name);
    this.place = gl.getAttribLocation(program, "place");
    this.shade = gl.getAttribLocation(program, "shade");
    gl.enableVertexAttribArray(this.place);
    gl.enableVertexAttribArray(this.shade);
  }

  load(bytes, points) {
    const gl = this.gl, places = gl.createBuffer(), shades = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, places);
    gl.bufferData(gl.ARRAY_BUFFER, bytes.subarray(0, points * 6), gl.STATIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, shades);
    gl.bufferData(gl.ARRAY_BUFFER, bytes.subarray(points * 6), gl.STATIC_DRAW);
    return { places, shades };
  }

  // runs: [[first, count, colour of the whole cloud]]
  draw(view, runs, mode) {
    const gl = this.gl, { width, height } = view.canvas;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(...BACKGROUND, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(this.uniform("view"), false, camera(view.eye, width / height));
    gl.uniform1f(this.uniform("size"), height * 0.09);
    gl.uniform1f(this.uniform("mode"), ["height", "distance", "cloud"].indexOf(mode));
    gl.uniform1f(this.uniform("ground"), view.ground);
    gl.uniform2f(this.uniform("heights"), ...HEIGHT_M);
    gl.uniform3fv(this.uniform("ramp"), (mode === "distance" ? DISTANCES : HEIGHTS).flatMap(colour));
    gl.bindBuffer(gl.ARRAY_BUFFER, view.buffers.places);
    gl.vertexAttribPointer(this.place, 3, gl.SHORT, false, 6, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, view.buffers.shades);
    gl.vertexAttribPointer(this.shade, 1, gl.UNSIGNED_BYTE, true, 1, 0);
    for (const [first, count, hex] of runs) {
      gl.uniform3fv(this.uniform("plain"), colour(hex));
      gl.drawArrays(gl.POINTS, first, count);
    }
    view.canvas.getContext("2d").drawImage(this.canvas, 0, 0);
  }
}

class View {
  constructor(host, painter, number) {
    this.host = host;
    this.painter = painter;
    this.truth = Number(host.dataset.truth);
    this.found = Number(host.dataset.found);
    this.ground = Number(host.dataset.ground);
    this.eye = { ...START, z: this.ground };
    this.canvas = element("canvas", { tabIndex: 0 });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `3D view: ${host.dataset.label}. Arrow keys turn, shift and arrow keys move, ` +
      "plus and minus zoom, 0 starts anew.");
    this.shown = "both";
    this.mode = "cloud";
    this.key = element("p", { className: "key" });
    host.append(this.canvas, this.controls(number), this.key);
    host.hidden = false;
    host.closest("figure").classList.add("is3d");
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  controls(number) {
    const row = element("div", { className: "controls" });
    row.append(this.choice("Show", `shown${number}`, "shown", [["original", "original"], ["recovered", "reconstruction"], ["both", "both"]]));
    row.append(this.choice("Colour", `mode${number}`, "mode",
      [["cloud", "which cloud"], ["height", "height"], ["distance", "distance to the other cloud"]]));
    const again = element("button", { type: "button", textContent: "Start anew" });
    again.addEventListener("click", () => this.reset());
    row.append(again, element("span", { textContent: "Drag to turn, shift and drag to move, wheel to zoom (click first); or arrow keys, + and −." }));
    return row;
  }

  choice(legend, name, field, options) {
    const set = element("fieldset", {}, element("legend", { textContent: legend }));
    for (const [value, words] of options) {
      const input = element("input", { type: "radio", name, value, checked: this[field] === value });
      input.addEventListener("change", () => { this[field] = value; this.draw(); });
      set.append(element("label", {}, input, ` ${words}`));
    }
    return set;
  }

  reset() {
    this.eye = { ...START, z: this.ground };
    this.draw();
  }

  listen() {
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); canvas.focus(); });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      const scale = 3 / canvas.clientHeight;
      if (event.shiftKey || event.buttons === 2) this.move(event.movementX * scale, event.movementY * scale);
      else this.turn(-event.movementX * scale, event.movementY * scale);
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return; // the page scrolls until the view is chosen
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY * 0.001));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (step) (event.shiftKey ? this.move(-step[0] * 0.1, -step[1] * 0.1) : this.turn(step[0] * 0.1, -step[1] * 0.08));
      else if (event.key === "+" || event.key === "=") this.zoom(0.85);
      else if (event.key === "-") this.zoom(1 / 0.85);
      else if (event.key === "0") this.reset();
      else return;
      event.preventDefault();
    });
  }

  turn(sideways, upwards) {
    this.eye.turn += sideways;
    this.eye.tilt = Math.min(1.55, Math.max(-0.2, this.eye.tilt + upwards));
    this.draw();
  }

  move(sideways, ahead) {
    const { turn, away } = this.eye, reach = away * 0.4;
    this.eye.x += (Math.sin(turn) * sideways - Math.cos(turn) * ahead) * reach;
    this.eye.y += (-Math.cos(turn) * sideways - Math.sin(turn) * ahead) * reach;
    this.draw();
  }

  zoom(factor) {
    this.eye.away = Math.min(250, Math.max(2, this.eye.away * factor));
    this.draw();
  }

  runs() {
    const original = [0, this.truth, ORIGINAL], recovered = [this.truth, this.found, RECOVERED];
    return { original: [original], recovered: [recovered], both: [original, recovered] }[this.shown];
  }

  draw() {
    const density = Math.min(2, window.devicePixelRatio || 1);
    const width = Math.round(this.canvas.clientWidth * density), height = Math.round(this.canvas.clientHeight * density);
    if (!width || !height) return;
    if (!this.buffers) {
      const data = this.host.querySelector("script").textContent;
      this.buffers = this.painter.load(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), this.truth + this.found);
    }
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.painter.draw(this, this.runs(), this.mode);
    this.explain();
  }

  explain() {
    const mark = (kind) => element("i", { className: kind });
    const words = {
      cloud: [mark("original"), "original", mark("recovered"), "reconstruction"],
      height: [`${HEIGHT_M[0]} m`, mark("height"), `${HEIGHT_M[1]} m above the ground`],
      distance: ["on a point of the other cloud", mark("distance"), "1 m or farther from it"],
    }[this.mode];
    this.key.replaceChildren(...words);
  }
}

function start() {
  const hosts = [...document.querySelectorAll(".view3d")];
  if (!hosts.length) return;
  let painter;
  try {
    painter = new Painter();
  } catch {
    return; // the still pictures stay
  }
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((each) => each.isIntersecting)) {
      seen.unobserve(entry.target);
      const host = entry.target.querySelector(".view3d");
      new View(host, painter, hosts.indexOf(host));
    }
  }, { rootMargin: "300px" });
  for (const host of hosts) seen.observe(host.closest("figure"));
}

const closed = new Set();
window.addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details:not([open])")) { closed.add(each); each.open = true; }
});
window.addEventListener("afterprint", () => { for (const each of closed) each.open = false; closed.clear(); });
start();
