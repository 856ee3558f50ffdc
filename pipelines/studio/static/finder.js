// Find in a document: all of it, not only what is on the page.
import { get } from "./api.js";
import { after, el } from "./dom.js";
import { number } from "./format.js";

export class Finder {
  constructor({ outline, pipeline, signal, reader, wanted }) {
    Object.assign(this, { outline, pipeline, signal, reader });
    this.places = [];
    this.at = -1;
    this.count = el("span", { class: "note", role: "status" });
    this.input = el("input", { type: "search", placeholder: "Find in this document", "aria-label": "Find in this document",
      value: wanted, oninput: after(160, () => this.find()), onkeydown: (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        this.step(event.shiftKey ? -1 : 1);
      } });
    this.next = el("button", { type: "button", "aria-label": "Next place", disabled: true, onclick: () => this.step(1) }, "↓");
    this.last = el("button", { type: "button", "aria-label": "Place before", disabled: true, onclick: () => this.step(-1) }, "↑");
    this.box = el("div", { class: "finder", role: "search" }, this.input, this.last, this.next, this.count);
    addEventListener("keydown", (event) => {
      if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) { event.preventDefault(); this.input.focus(); }
    }, { signal });
  }

  start() {
    if (this.input.value) this.find();
  }

  async find() {
    const text = this.input.value;
    const found = text ? await get("document/find", { id: this.outline.id, pipeline: this.pipeline, text }, this.signal).catch(() => null)
      : { count: 0, places: [], length: 0 };
    if (!found || text !== this.input.value) return;
    const length = [...text].length;
    this.total = found.count;
    this.places = found.places;
    this.at = -1;
    this.next.disabled = this.last.disabled = !found.count;
    this.reader.draw({ found: found.places.map((at) => [at, at + length]), current: null });
    this.count.textContent = text ? (found.count ? "" : "not found") : "";
    if (found.count) this.step(1);
  }

  step(by) {
    if (!this.places.length) return;
    this.at = (this.at + by + this.places.length) % this.places.length;
    const at = this.places[this.at];
    const more = this.total > this.places.length ? ` (the first ${number(this.places.length)} can be stepped through)` : "";
    this.count.textContent = `${number(this.at + 1)} of ${number(this.total)}${more}`;
    this.reader.go(at, at + [...this.input.value].length, "found");
  }
}
