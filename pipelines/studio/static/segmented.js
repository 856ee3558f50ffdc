// What one or two segmenters say of a document, one above the other.
import { get } from "./api.js";
import { el, select } from "./dom.js";
import { counted, number, seconds } from "./format.js";
import { Strip } from "./strip.js";

const SHORT = 50_000; // characters up to which scores come unasked: some segmenters read with a model
const MOST = 200_000; // characters that the server segments at once

export class Segmented {
  constructor({ outline, pipeline, signal, given, reader }) {
    Object.assign(this, { outline, pipeline, signal, reader });
    this.here = 0;
    this.slots = ["first", "second"].map((kind, n) => this.slot(kind, given.get(n ? "b" : "a") ?? ""));
    this.strips = el("div", { class: "strips" }, this.slots.map(({ row }) => row));
    this.choice = el("div", { class: "choice" }, this.slots.map(({ label }) => label));
    this.fill();
  }

  slot(kind, wanted) {
    const first = kind === "first";
    const name = first ? "Segmenter" : "Second segmenter";
    const strip = new Strip({ length: this.outline.length, kind, label: `${name}: scores along the document`, signal: this.signal,
      go: (at) => this.reader.go(at, at) });
    const slot = { kind, strip, wanted, said: el("span", { class: "note", role: "status" }) };
    slot.pick = select([], "", { "aria-label": name, onchange: () => this.choose(slot) });
    slot.label = el("label", { class: `pick ${kind}` }, first ? "Borders" : "beside", slot.pick);
    slot.row = el("div", { class: "striprow", hidden: true }, el("div", { class: "over" }, el("b", {}), slot.said), strip.canvas);
    return slot;
  }

  async fill() {
    const { chain, others } = await get("segmenters", { pipeline: this.pipeline }, this.signal).catch(() => ({ chain: [], others: [] }));
    this.chain = chain;
    const own = chain.map((name, n) => ({ value: `chain:${n}`, label: chain.length > 1 ? `${name} (number ${n + 1} of the chain)` : `${name}, as set` }));
    const plain = others.map((name) => ({ value: name, label: name }));
    const groups = [{ group: "This pipeline's", options: own }, { group: "With default settings", options: plain }];
    this.slots.forEach((slot, n) => {
      const none = n ? { value: "", label: "none" } : { value: "", label: "as stored" };
      const fresh = select([none, ...groups], slot.wanted);
      slot.pick.replaceChildren(...fresh.children);
      slot.pick.value = slot.wanted;
      if (slot.wanted) this.choose(slot);
    });
    if (this.borders) this.stored(this.borders);
  }

  // The chunks that the store holds, and for a short text what the segmenter that made them says.
  stored(chunks) {
    this.borders = chunks;
    const [slot] = this.slots;
    if (slot.pick.value || !this.chain) return;
    slot.row.hidden = false;
    slot.row.querySelector("b").textContent = "as stored";
    slot.strip.set({ chunks, range: [0, this.outline.length] });
    this.reader.draw({ chunks });
    const last = this.chain.length - 1;
    if (last < 0) return;
    const ask = () => this.run(slot, `chain:${last}`, chunks);
    if (this.outline.length <= SHORT) ask();
    else slot.said.replaceChildren(`${counted(chunks.length, "chunks")} `, el("button", { type: "button", class: "plain", onclick: ask }, `show scores of ${this.chain[last]}`));
  }

  choose(slot) {
    const { value } = slot.pick;
    slot.turn = (slot.turn ?? 0) + 1;
    if (value) { this.run(slot, value); return; }
    if (slot.kind === "first") { if (this.borders) this.stored(this.borders); return; }
    slot.row.hidden = true;
    this.reader.draw({ others: [] });
  }

  async run(slot, segmenter, chunks = null) {
    const turn = (slot.turn = (slot.turn ?? 0) + 1);
    const label = slot.pick.selectedOptions[0]?.label ?? segmenter;
    slot.row.hidden = false;
    slot.row.querySelector("b").textContent = label;
    slot.said.className = "note busy";
    slot.said.textContent = "segmenting…";
    try {
      const start = this.outline.length <= MOST ? 0 : Math.max(0, Math.min(this.outline.length - MOST, this.here - MOST / 2));
      const found = await get("document/cuts", { id: this.outline.id, pipeline: this.pipeline, segmenter, start }, this.signal);
      if (turn !== slot.turn) return;
      const shown = chunks ?? found.chunks;
      slot.strip.set({ cuts: found.cuts, chunks: shown, range: [found.start, found.end] });
      this.reader.draw(slot.kind === "first" ? { chunks: shown } : { others: shown });
      const whole = found.end - found.start === this.outline.length;
      slot.said.className = "note";
      slot.said.replaceChildren(`${counted(shown.length, "chunks")}, ${counted(found.cuts.length, "scored cuts")}, ${seconds(found.seconds)}`,
        ...(whole ? [] : [`, from character ${number(found.start)} to ${number(found.end)} · `,
          el("button", { type: "button", class: "plain", onclick: () => this.run(slot, segmenter, chunks) }, "around here")]));
    } catch (error) {
      if (error.name === "AbortError" || turn !== slot.turn) return;
      slot.said.className = "note bad";
      slot.said.textContent = [error.message, error.fix].filter(Boolean).join(" ");
    }
  }

  see(start, end) {
    this.here = start;
    for (const { strip, row } of this.slots) if (!row.hidden) strip.see(start, end);
  }
}
