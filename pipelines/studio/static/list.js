// A list of any length: only the rows in sight are in the page; windows of it are fetched as they come into sight.
import { el } from "./dom.js";

const WINDOW = 100;
const BEYOND = 8;

export class List {
  // `fetch(offset, limit)` promises rows, `row(data, index)` makes one as a link; `label` names the list.
  constructor({ fetch, row, label, signal }) {
    Object.assign(this, { fetch, row, signal });
    this.count = 0;
    this.version = 0;
    this.windows = new Map();
    this.space = el("div", { class: "space", role: "presentation" });
    this.box = el("div", { class: "list", role: "list", "aria-label": label, tabIndex: -1 }, this.space);
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.move(event));
    const watch = new ResizeObserver(() => this.draw());
    watch.observe(this.box);
    signal.addEventListener("abort", () => watch.disconnect());
  }

  // Begin again with `count` rows, of which the first are known.
  reset(count, first = []) {
    this.count = count;
    this.version += 1;
    this.windows.clear();
    if (first.length) this.windows.set(0, first);
    this.box.scrollTop = 0;
    this.space.replaceChildren();
    this.draw();
  }

  get height() {
    return parseFloat(getComputedStyle(this.box).getPropertyValue("--row")) || 44;
  }

  draw() {
    const { height, count } = this;
    this.space.style.height = `${count * height}px`;
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - BEYOND);
    const last = Math.min(count, Math.ceil((this.box.scrollTop + this.box.clientHeight) / height) + BEYOND);
    const wanted = new Set();
    for (let index = first; index < last; index += 1) wanted.add(index);
    const there = new Map();
    for (const item of [...this.space.children]) {
      const index = Number(item.dataset.index);
      if (!wanted.has(index) && !item.contains(document.activeElement)) item.remove();
      else there.set(index, item);
    }
    for (const index of wanted) {
      const known = this.windows.get(Math.floor(index / WINDOW))?.[index % WINDOW];
      const item = there.get(index);
      if (item && (item.dataset.known || !known)) { item.style.top = `${index * height}px`; continue; }
      const made = el("div", { class: "item", role: "listitem", "data-index": index, "data-known": known ? "1" : null,
        "aria-setsize": count, "aria-posinset": index + 1 }, known ? this.row(known, index) : el("span", { class: "soon" }));
      made.style.top = `${index * height}px`;
      if (item) item.replaceWith(made);
      else this.space.append(made);
    }
    if (last > first) this.need(Math.floor(first / WINDOW), Math.floor((last - 1) / WINDOW));
  }

  async need(first, last) {
    for (let at = first; at <= last; at += 1) {
      if (this.windows.has(at)) continue;
      this.windows.set(at, null);
      const version = this.version;
      try {
        const rows = await this.fetch(at * WINDOW, WINDOW);
        if (version !== this.version || this.signal.aborted) return;
        this.windows.set(at, rows);
        this.draw();
      } catch {
        if (version === this.version) this.windows.delete(at); // The next look asks again.
      }
    }
  }

  // Arrows, pages, and the ends move between rows.
  move(event) {
    const at = Number(document.activeElement?.closest?.(".item")?.dataset.index ?? -1);
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.count, End: this.count };
    if (!(event.key in steps) || !this.count) return;
    event.preventDefault();
    this.focus(Math.min(this.count - 1, Math.max(0, at + steps[event.key])));
  }

  focus(index) {
    const { height } = this;
    const top = index * height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + height > this.box.scrollTop + this.box.clientHeight) {
      this.box.scrollTop = top + height - this.box.clientHeight;
    }
    this.draw();
    this.space.querySelector(`[data-index="${index}"] a`)?.focus({ preventScroll: true });
  }
}
