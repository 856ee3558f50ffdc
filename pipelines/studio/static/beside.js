// A document beside the answer, at the very characters that are cited.
import { get } from "./api.js";
import { address } from "./address.js";
import { el, failure, foreign, state } from "./dom.js";
import { number } from "./format.js";
import { Reader } from "./reader.js";

export class Beside {
  constructor(signal) {
    this.view = signal;
    this.title = el("h2", {});
    this.where = el("span", { class: "note" });
    this.link = el("a", {}, "Open document");
    this.hole = el("div", { class: "hole" });
    const shut = el("button", { type: "button", "aria-label": "Close the document", onclick: () => this.close() }, "✕");
    this.box = el("aside", { class: "beside", hidden: true, "aria-label": "The document" },
      el("div", { class: "besidehead" }, this.title, shut, el("p", { class: "note" }, this.where, this.link)), this.hole);
    addEventListener("keydown", (event) => { if (event.key === "Escape" && !this.box.hidden) this.close(); }, { signal });
  }

  // `place` has document, start, end and pipeline.
  async open(place) {
    if (this.box.hidden) this.from = document.activeElement;
    this.box.hidden = false;
    this.box.parentNode.classList.add("open");
    const { document: id, start, end, pipeline } = place;
    const which = `${pipeline}\n${id}`;
    try {
      if (this.which !== which) {
        this.control?.abort();
        this.control = new AbortController();
        this.view.addEventListener("abort", () => this.control.abort());
        this.which = which;
        this.hole.replaceChildren(state("Loading…"));
        const outline = await get("document", { id, pipeline }, this.control.signal);
        this.reader = new Reader({ outline, pipeline, signal: this.control.signal, label: `Text of ${outline.place}` });
        this.title.replaceChildren(foreign(outline.title || outline.place));
        this.hole.replaceChildren(this.reader.box);
      }
      const page = this.reader.page(start);
      this.where.textContent = `${page ? `${page}, ` : ""}characters ${number(start)} to ${number(end)} · `;
      this.link.href = address("document", { id, p: pipeline, start, end });
      await this.reader.go(start, end);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.which = "";
      this.hole.replaceChildren(failure(error, () => this.open(place)));
    }
  }

  close() {
    this.box.hidden = true;
    this.box.parentNode.classList.remove("open");
    this.from?.focus?.();
  }
}
