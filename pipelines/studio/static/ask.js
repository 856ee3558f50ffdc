// Ask: an answer as it is written, each sentence with the span it rests on; under two pipelines side by side.
import { Beside } from "./beside.js";
import { el } from "./dom.js";
import { asked, form } from "./question.js";
import { Run } from "./run.js";

export const show = async (main, { given, signal, overview, pipeline }) => {
  const what = asked(given, pipeline);
  const ask = form({ view: "ask", given, overview, pipeline, label: "Ask", beside: true });
  const beside = new Beside(signal);
  const runs = el("div", { class: "runs" });
  main.replaceChildren(el("h1", { class: "unseen" }, "Ask"), ask, el("div", { class: "result" }, runs, beside.box));
  if (!what.question) {
    ask.querySelector("textarea").focus();
    runs.append(hint(overview));
    return;
  }
  document.title = `${what.question.slice(0, 60)} · Fovea studio`;
  const names = [pipeline, ...(given.get("vs") ? [given.get("vs")] : [])];
  runs.classList.toggle("two", names.length > 1);
  const made = names.map((name) => new Run({ asked: { ...what, pipeline: name }, alone: names.length === 1, beside, signal,
    about: overview.pipelines.find((one) => one.name === name) }));
  runs.append(...made.map(({ box }) => box));
  for (const run of made) run.start();
};

const hint = (overview) => {
  const [first] = overview.pipelines;
  const way = [first.retrieve.join(" + "), ...first.refine, first.generate + (first.model ? ` (${first.model})` : "")];
  return el("div", { class: "state" },
    el("p", {}, "Every sentence of the answer leads to the words it rests on; every passage says how each stage ranked it."),
    el("p", { class: "note" }, `${first.name}: ${way.join(" → ")}`));
};
