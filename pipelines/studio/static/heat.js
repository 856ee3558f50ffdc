// Passages coloured word by word: a sentence of the answer and a group of heads are chosen, the colours follow.
import { el, foreign } from "./dom.js";
import { counted, number, percent } from "./format.js";
import { Points } from "./offsets.js";

const SAID = {
  evidence: "Heads that point at what supports an answer, found by a probe.",
  copying: "Heads that look at the token that the model writes next.",
  "lower layers": "All heads of the lower third of the layers: mostly what is near, and what is said twice.",
  "middle layers": "All heads of the middle third of the layers.",
  "upper layers": "All heads of the upper third of the layers.",
};
const TOP = 8;

export class Heat {
  constructor(heat, answer) {
    this.heat = heat;
    this.group = 0;
    this.row = heat.rows.length > 1 ? 1 : 0;
    this.groups = chooser("Group of heads", heat.groups.map(({ name }) => name), (n) => { this.group = n; this.colour(); });
    this.rows = el("div", { class: "rows", role: "group", "aria-label": "What was read or written" }, heat.rows.map(({ said, start }, n) =>
      el("button", { type: "button", onclick: () => { this.row = n; this.colour(); } },
        el("span", { class: "note" }, start === null ? "question" : `sentence ${n}`), foreign(said.trim()))));
    this.about = el("p", { class: "note" });
    this.legend = el("p", { class: "legend note" }, "0", el("span", { class: "ramp", "aria-hidden": "true" }), el("span", {}));
    this.top = el("p", { class: "most", role: "status" });
    this.passages = heat.passages.map((passage, n) => this.passage(passage, n));
    this.parts = [
      el("div", { class: "heathead" }, this.groups, this.legend), this.about,
      el("div", { class: "heat" }, el("div", { class: "chosen" }, this.rows), el("div", {}, this.top, this.passages.map(({ box }) => box))),
    ];
    this.colour();
  }

  passage(passage, n) {
    const points = new Points(passage.text);
    const text = el("p", { class: "coloured", dir: "auto" });
    const words = [];
    let at = 0;
    for (const [start, end] of passage.words) {
      const [low, high] = [start - passage.start, end - passage.start];
      const word = el("span", { class: "word" }, points.slice(low, high));
      text.append(points.slice(at, low), word);
      words.push(word);
      at = high;
    }
    text.append(points.slice(at, points.length));
    const share = el("b", {});
    const where = `${passage.source || passage.document}${passage.page ? `, page ${number(passage.page)}` : ""}`;
    const box = el("article", { class: "hot" }, el("h3", {}, `${n + 1} `, foreign(where), share), text);
    return { box, words, share };
  }

  colour() {
    const { heat, group, row } = this;
    const all = heat.passages.flatMap(({ shares }) => shares[group][row]);
    const most = Math.max(...all, 1e-9);
    [...this.groups.children].forEach((one, n) => one.setAttribute("aria-pressed", String(n === group)));
    [...this.rows.children].forEach((one, n) => one.setAttribute("aria-pressed", String(n === row)));
    const { name, heads } = heat.groups[group];
    const which = heads.length <= 8 ? heads.map(([layer, head]) => `layer ${layer + 1} head ${head + 1}`).join(", ") : counted(heads.length, "heads");
    this.about.textContent = `${SAID[name] ?? name} (${which})`;
    this.legend.lastChild.textContent = `${percent(most)} of what they gave to the passages, in one word; the colour grows with the root of the share`;
    const best = [];
    heat.passages.forEach((passage, n) => {
      const shares = passage.shares[group][row];
      const { words, share } = this.passages[n];
      share.textContent = percent(shares.reduce((a, b) => a + b, 0));
      shares.forEach((value, w) => {
        words[w].style.setProperty("--share", Math.sqrt(value / most).toFixed(3));
        words[w].title = percent(value);
        best.push([value, words[w].textContent]);
      });
    });
    best.sort((a, b) => b[0] - a[0]);
    this.top.replaceChildren("Most looked at: ", ...best.slice(0, TOP).filter(([value]) => value > 0).flatMap(([value, word], n) =>
      [n ? ", " : "", foreign(word), ` ${percent(value)}`]));
  }
}

const chooser = (label, names, choose) => el("div", { class: "tabs", role: "group", "aria-label": label },
  names.map((name, n) => el("button", { type: "button", onclick: () => choose(n) }, name)));
