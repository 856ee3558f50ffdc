// The form that asks: what it asks goes into the address, and the view follows that.
import { address } from "./address.js";
import { el, select } from "./dom.js";

export const asked = (given, pipeline) => ({
  pipeline, question: given.get("q") ?? "", k: Number(given.get("k")) || undefined, where: given.get("where") ?? "",
});

export const form = ({ view, given, overview, pipeline, label, beside = false }) => {
  const question = el("textarea", { name: "q", rows: 1, "aria-label": "Question", placeholder: "Ask your documents", autocomplete: "off",
    value: given.get("q") ?? "", maxlength: 20000, onkeydown: (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
    } });
  const others = overview.pipelines.filter(({ name }) => name !== pipeline);
  const versus = beside && others.length
    ? select([{ value: "", label: "nothing" }, ...others.map(({ name }) => ({ value: name, label: name }))], given.get("vs") ?? "",
      { onchange: () => question.value.trim() && send() }) : null;
  const usual = overview.pipelines.find(({ name }) => name === pipeline)?.k ?? 5;
  const k = el("input", { type: "number", min: 1, max: 200, value: given.get("k") ?? "", placeholder: String(usual), "aria-label": "Passages" });
  const where = el("input", { type: "text", value: given.get("where") ?? "", placeholder: "suffix == '.pdf'", "aria-label": "Filter" });
  const send = () => {
    if (!question.value.trim()) { question.focus(); return; }
    const next = address(view, { q: question.value.trim(), p: given.get("p") ?? "", vs: versus?.value ?? "", k: k.value, where: where.value.trim() });
    if (next === location.hash) dispatchEvent(new Event("hashchange"));
    else location.hash = next;
  };
  const more = el("details", { class: "more", open: Boolean(given.get("k") || given.get("where")) }, el("summary", {}, "Options"),
    el("div", { class: "row" }, el("label", {}, "Passages ", k), el("label", { class: "wide" }, "Only where ", where)));
  return el("form", { class: "question", onsubmit: (event) => { event.preventDefault(); send(); } },
    el("div", { class: "askrow" }, question, el("button", { class: "main" }, label)),
    el("div", { class: "row under" }, versus ? el("label", { class: "pick second" }, "beside", versus) : null, more));
};
