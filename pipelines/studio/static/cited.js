// An answer, sentence by sentence: each leads to the exact characters it rests on.
import { el, foreign } from "./dom.js";
import { named, number } from "./format.js";
import { Points } from "./offsets.js";

export const place = (one) => [named(one), one.page ? `page ${number(one.page)}` : "", one.line ? `line ${number(one.line)}` : ""]
  .filter(Boolean).join(", ");

export const cited = (answer, open) => {
  const by = new Map(answer.citations.map((citation) => [citation.n, citation]));
  const points = new Points(answer.text);
  const text = el("p", { class: "answer", dir: "auto" });
  let at = 0;
  for (const sentence of answer.sentences) {
    text.append(points.slice(at, sentence.start));
    const marks = sentence.citations.map((n) => el("button", { type: "button", class: "cite", "aria-label": `Citation ${n}: ${place(by.get(n))}`,
      title: by.get(n).quote.slice(0, 300), onclick: (event) => { chosen(event.target); open(by.get(n)); } }, String(n)));
    const words = points.slice(sentence.start, sentence.end);
    const last = words.trimEnd().lastIndexOf(" ") + 1; // The last word stays with its marks.
    const said = el("span", { class: sentence.supported ? "sentence" : "sentence bare", title: sentence.supported ? null : "No support was found for this sentence" },
      words.slice(0, last), el("span", { class: words.length - last < 40 ? "together" : "" }, words.slice(last), marks));
    if (marks.length) said.addEventListener("click", (event) => { if (getSelection().isCollapsed && !event.target.closest("button")) marks[0].click(); });
    text.append(said, sentence.supported ? "" : el("span", { class: "nosupport" }, "no support found"));
    at = sentence.end;
  }
  text.append(points.slice(at, points.length));
  const quotes = answer.citations.map((one) => el("li", { value: one.n },
    el("button", { type: "button", class: "plain", onclick: (event) => { chosen(event.target); open(one); } }, foreign(place(one))),
    el("blockquote", { dir: "auto" }, one.quote)));
  return [
    text,
    answer.reasoning ? el("details", { class: "part" }, el("summary", {}, "What the model thought before it"), el("p", { class: "thought", dir: "auto" }, answer.reasoning)) : "",
    quotes.length ? el("ol", { class: "quotes", "aria-label": "Citations" }, quotes) : "",
  ].filter(Boolean);
};

const chosen = (target) => {
  for (const one of document.querySelectorAll("[aria-pressed=true].cite, .quotes [aria-pressed=true]")) one.removeAttribute("aria-pressed");
  target.closest("button").setAttribute("aria-pressed", "true");
};
