// One question to one pipeline: on its way, there, stopped or failed.
import { answer, known } from "./answers.js";
import { address } from "./address.js";
import { cited } from "./cited.js";
import { el, failure } from "./dom.js";
import { counted, seconds } from "./format.js";
import { dropped, passages } from "./passages.js";
import { stages } from "./stages.js";

export class Run {
  constructor({ asked, about, alone, beside, signal }) {
    Object.assign(this, { asked, about, beside, signal });
    this.clock = el("span", { class: "note clock" });
    this.stop = el("button", { type: "button", hidden: true, onclick: () => this.control.abort() }, "Stop");
    this.again = el("button", { type: "button", hidden: true, onclick: () => this.start(true) }, "Ask again");
    const title = about ? `${about.name}` : asked.pipeline;
    const kind = about ? [about.generate, about.model].filter(Boolean).join(" · ") : "";
    this.body = el("div", { class: "body", "aria-live": "off" });
    this.box = el("section", { class: "run", "aria-label": `Answer of ${asked.pipeline}` },
      el("div", { class: "runhead" }, el("h2", {}, title), el("span", { class: "note" }, kind), this.clock, this.stop, this.again), this.body);
    if (alone) this.box.classList.add("alone");
    addEventListener("fovea:back", () => { if (this.lost) this.start(true); }, { signal });
  }

  async start(anew = false) {
    const there = anew ? null : known(this.asked);
    if (there) { this.there(there); return; }
    this.control = new AbortController();
    this.signal.addEventListener("abort", () => this.control.abort());
    this.lost = false;
    this.stop.hidden = false;
    this.again.hidden = true;
    const text = el("p", { class: "answer writing" });
    const wait = el("p", { class: "note busy" }, "Looking for passages…");
    this.body.replaceChildren(wait, text);
    const began = performance.now();
    const tick = setInterval(() => {
      const took = (performance.now() - began) / 1000;
      this.clock.textContent = `${took.toFixed(1)} s`;
      if (took > 4) wait.textContent = "Still at it. A local model can take a minute; you may stop it, or look at something else.";
    }, 100);
    try {
      const found = await answer(this.asked, { signal: this.control.signal, piece: (piece) => { wait.hidden = true; text.append(piece); } });
      this.there(found);
    } catch (error) {
      if (error.name === "AbortError") {
        wait.className = "note";
        wait.hidden = false;
        wait.textContent = `Stopped after ${seconds((performance.now() - began) / 1000)}.`;
        text.classList.remove("writing");
      } else {
        this.lost = error.type === "lost";
        this.body.replaceChildren(...(text.textContent ? [text] : []), failure(error));
      }
      this.again.hidden = false;
    } finally {
      clearInterval(tick);
      this.stop.hidden = true;
    }
  }

  there({ answer: found, seconds: took, at }) {
    const { trace, hits } = found;
    this.clock.textContent = `${seconds(took)} at ${at.toLocaleTimeString("en-GB", { timeStyle: "short" })}`;
    this.again.hidden = false;
    const open = (place) => this.beside.open({ ...place, pipeline: this.asked.pipeline });
    const warned = Object.entries(Object.assign({}, ...(trace?.stages ?? []).map((stage) => stage.warnings)));
    const gone = dropped(trace, hits);
    const { pipeline, question, k, where } = this.asked;
    this.body.replaceChildren(
      ...cited(found, open),
      ...warned.map(([said, times]) => el("p", { class: "warned" }, said + (times > 1 ? ` (${counted(times, "times")})` : ""))),
      this.about?.looks && hits.length ? el("p", { class: "note" }, el("a", { href: address("attention", { q: question, p: pipeline, k, where }) }, "What the model looked at")) : "",
      el("h3", { class: "part" }, counted(hits.length, "passages")),
      hits.length ? passages(hits, trace, open) : el("p", { class: "note" }, "Nothing came back for this question."),
      ...(gone.count ? [el("details", { class: "part" }, el("summary", {}, `${counted(gone.count, "passages")} dropped on the way`), gone.box(this.asked.pipeline, open, this.signal))] : []),
      ...(trace ? [el("details", { class: "part" }, el("summary", {}, "What each stage did"), stages(trace))] : []),
      el("details", { class: "part" }, el("summary", {}, "To send it to somebody"),
        el("p", { class: "note" }, "Keep it with the button, then: ", el("code", {}, "fovea export page answer.json")), this.keep(found)));
  }

  keep(found) {
    return el("button", { type: "button", onclick: () => {
      const url = URL.createObjectURL(new Blob([JSON.stringify({ question: this.asked.question, ...found }, null, 2)], { type: "application/json" }));
      el("a", { href: url, download: "answer.json" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    } }, "Keep as answer.json");
  }
}
