// One document, however long: its blocks stand in their places, and those in sight hold their text.
import { get } from "./api.js";
import { after, el } from "./dom.js";
import { number } from "./format.js";
import { before } from "./offsets.js";
import { painted } from "./painted.js";

const AT_ONCE = 40; // blocks in one request
const GUESS = 0.35; // pixels a character, until one block was seen

export class Reader {
  // `outline` is what `api/document` says; `place` is told of the first character in sight.
  constructor({ outline, pipeline, signal, label, place = () => {} }) {
    Object.assign(this, { outline, pipeline, signal, place });
    this.layers = { chunks: [], others: [], marks: [], found: [] };
    this.texts = new Map();
    this.near = new Set();
    const verbatim = /csv|tab-|json|spreadsheet|python/.test(outline.media_type);
    this.blocks = outline.blocks.map((start, n) => el("div", { class: "block", dir: "auto", "data-n": n }));
    this.box = el("div", { class: verbatim ? "reader verbatim" : "reader", tabIndex: 0, role: "region", "aria-label": label }, this.blocks);
    this.guess(GUESS);
    this.fill = after(25, () => this.read());
    this.watch = new IntersectionObserver((seen) => this.saw(seen), { root: this.box, rootMargin: "1200px 0px" });
    for (const block of this.blocks) this.watch.observe(block);
    this.box.addEventListener("scroll", () => requestAnimationFrame(() => this.tell()), { passive: true });
    signal.addEventListener("abort", () => this.watch.disconnect());
  }

  end(n) {
    return this.outline.blocks[n + 1] ?? this.outline.length;
  }

  guess(ratio) {
    this.ratio = ratio;
    this.blocks.forEach((block, n) => {
      if (!block.firstChild) block.style.height = `${Math.max(24, (this.end(n) - this.outline.blocks[n]) * ratio)}px`;
    });
  }

  saw(entries) {
    for (const { target, isIntersecting, boundingClientRect } of entries) {
      const n = Number(target.dataset.n);
      if (isIntersecting) this.near.add(n);
      else if (this.near.delete(n) && target.firstChild) {
        target.style.height = `${boundingClientRect.height}px`;
        target.replaceChildren();
      }
    }
    this.fill();
  }

  async read() {
    const wanted = [...this.near].filter((n) => !this.blocks[n].firstChild).sort((a, b) => a - b);
    while (wanted.length) {
      const first = wanted.shift();
      let last = first;
      while (wanted[0] === last + 1 && last - first < AT_ONCE) last = wanted.shift();
      await this.need(first, last);
    }
    this.tell();
  }

  async need(first, last) {
    const { blocks: starts, id } = this.outline;
    const lacking = [];
    for (let n = first; n <= last; n += 1) if (!this.texts.has(n)) lacking.push(n);
    if (lacking.length) {
      const from = lacking[0];
      const to = lacking.at(-1);
      const window = { id, pipeline: this.pipeline, start: starts[from], end: this.end(to) };
      let said;
      try {
        said = await get("document/text", window, this.signal);
      } catch (error) {
        if (error.name !== "AbortError") setTimeout(() => this.fill(), 1500);
        return;
      }
      const points = this.outline.length === said.text.length ? null : [...said.text];
      for (let n = from; n <= to; n += 1) {
        const [low, high] = [starts[n] - said.start, this.end(n) - said.start];
        this.texts.set(n, points ? points.slice(low, high).join("") : said.text.slice(low, high));
      }
      for (const n of [...this.texts.keys()].slice(0, Math.max(0, this.texts.size - 200))) this.texts.delete(n);
    }
    for (let n = first; n <= last; n += 1) this.paint(n);
  }

  paint(n) {
    const text = this.texts.get(n);
    if (text === undefined) return;
    const block = this.blocks[n];
    const start = this.outline.blocks[n];
    block.replaceChildren(...painted(text, start, this.end(n), this.layers, this.outline.pages));
    block.style.height = "";
    if (!this.seen && text.length > 400) {
      this.seen = true;
      this.guess(block.getBoundingClientRect().height / text.length || GUESS);
    }
  }

  // Draw another layer: `chunks` and `others` are [start, end] of chunks, `marks` and `found` of what is marked.
  draw(layers) {
    Object.assign(this.layers, layers);
    this.blocks.forEach((block, n) => { if (block.firstChild) this.paint(n); });
  }

  // Scroll to a place, and mark the characters there.
  async go(start, end = start, kind = "marks") {
    const n = Math.max(0, before(this.outline.blocks, start));
    this.draw({ [kind]: kind === "marks" ? [[start, end]] : this.layers[kind], current: [start, end] });
    this.near.add(n);
    if (!this.blocks[n].firstChild) await this.need(n, n);
    if (this.signal.aborted) return;
    const target = this.box.querySelector(`[data-at="${start}"]`) ?? this.blocks[n];
    const top = target.getBoundingClientRect().top - this.box.getBoundingClientRect().top;
    this.box.scrollTop += top - this.box.clientHeight * 0.3;
    this.tell();
  }

  // Which character is the first in sight, by where it lies in its block.
  tell() {
    const top = this.box.getBoundingClientRect().top + 8;
    const n = before(this.blocks, top, (block) => block.getBoundingClientRect().top);
    const at = Math.max(0, n);
    const box = this.blocks[at]?.getBoundingClientRect();
    if (!box) return;
    const [low, high] = [this.outline.blocks[at], this.end(at)];
    const share = Math.min(1, Math.max(0, (top - box.top) / (box.height || 1)));
    const whole = Math.min(1, this.box.clientHeight / (box.height || 1));
    const start = Math.round(low + share * (high - low));
    this.place(start, Math.min(this.outline.length, Math.round(start + whole * (high - low))));
  }

  page(at) {
    const { pages } = this.outline;
    return pages.length ? `page ${number(Math.max(1, before(pages, at) + 1))}` : "";
  }
}
