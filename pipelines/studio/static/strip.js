// A whole document as a strip: where a segmenter would cut, and how strongly; a click goes there.
import { el } from "./dom.js";
import { number, score } from "./format.js";
import { before } from "./offsets.js";

const HEIGHT = 46;

export class Strip {
  // `length` in characters; `kind` is "first" or "second", which is its colour; `go` is told where to go.
  constructor({ length, kind, label, go, signal }) {
    Object.assign(this, { kind, go, range: [0, length] });
    this.cuts = [];
    this.chunks = [];
    this.sight = [0, 0];
    this.canvas = el("canvas", { class: `strip ${kind}`, tabIndex: 0, role: "slider", "aria-label": label,
      "aria-valuemin": 0, "aria-valuemax": length, "aria-valuenow": 0 });
    this.canvas.addEventListener("click", (event) => {
      const box = this.canvas.getBoundingClientRect();
      this.go(Math.round(this.range[0] + ((event.clientX - box.left) / box.width) * (this.range[1] - this.range[0])));
    });
    this.canvas.addEventListener("keydown", (event) => this.step(event));
    const watch = new ResizeObserver(() => this.draw());
    watch.observe(this.canvas);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.draw(), { signal });
    signal.addEventListener("abort", () => watch.disconnect());
  }

  // `range` are the characters that it stands for.
  set({ cuts = [], chunks = [], range = this.range }) {
    this.range = range;
    this.cuts = cuts;
    this.chunks = chunks;
    this.draw();
  }

  see(start, end) {
    this.sight = [start, end];
    const at = before(this.cuts, start, (cut) => cut[0]);
    const near = at >= 0 ? `, cut before it at ${number(this.cuts[at][0])} with score ${score(this.cuts[at][1])}` : "";
    this.canvas.setAttribute("aria-valuenow", start);
    this.canvas.setAttribute("aria-valuetext", `character ${number(start)}${near}`);
    this.draw();
  }

  // Arrows go from border to border.
  step(event) {
    const places = this.chunks.length ? this.chunks.map(([start]) => start) : this.cuts.map(([at]) => at);
    const here = before(places, this.last ?? this.sight[0]);
    const steps = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: places.length - 1 };
    if (!(event.key in steps) || !places.length) return;
    event.preventDefault();
    this.last = places[Math.min(places.length - 1, Math.max(0, steps[event.key]))];
    this.go(this.last);
  }

  draw() {
    const { canvas, range: [low, high] } = this;
    const across = (at) => ((at - low) / Math.max(1, high - low)) * width;
    const [width, ratio] = [canvas.clientWidth, devicePixelRatio || 1];
    if (!width) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(HEIGHT * ratio);
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    pen.scale(ratio, ratio);
    pen.fillStyle = colour("--shade");
    const [from, to] = this.sight.map(across);
    pen.fillRect(from, 0, Math.max(2, to - from), HEIGHT);
    pen.fillStyle = colour(this.kind === "first" ? "--accent" : "--second");
    const best = new Float32Array(Math.ceil(width) + 1); // of several cuts in a pixel the strongest
    for (const [at, value] of this.cuts) {
      const x = Math.min(best.length - 1, Math.max(0, Math.floor(across(at))));
      best[x] = Math.max(best[x], value, 0.03);
    }
    const room = HEIGHT - 9;
    best.forEach((value, x) => { if (value) pen.fillRect(x, room - value * (room - 3), 1, value * (room - 3)); });
    pen.globalAlpha = 0.85;
    const crowded = this.chunks.length > width / 2; // then one border in a few pixels stands for several
    let last = -9;
    for (const [start] of this.chunks) {
      const x = Math.floor(across(start));
      if (x < 0 || x > width || x < last + (crowded ? 4 : 1)) continue;
      pen.fillRect(x, HEIGHT - 7, 1, 6);
      last = x;
    }
    pen.globalAlpha = 1;
    pen.fillStyle = colour("--ink");
    pen.fillRect(from, 0, 1.5, HEIGHT);
  }
}
