// Attention: the passages coloured by what a local model looked at, by group of heads, for each sentence it wrote.
import { post } from "./api.js";
import { answer, known } from "./answers.js";
import { el, failure, foreign, state } from "./dom.js";
import { counted, named, percent } from "./format.js";
import { Heat } from "./heat.js";
import { Points } from "./offsets.js";
import { asked, form } from "./question.js";

export const show = async (main, { given, signal, overview, pipeline }) => {
  const what = asked(given, pipeline);
  const about = overview.pipelines.find(({ name }) => name === pipeline);
  const ask = form({ view: "attention", given, overview, pipeline, label: "Look" });
  const body = el("div", { class: "runs" });
  main.replaceChildren(el("h1", { class: "unseen" }, "Attention"), ask, el("div", { class: "result" }, body));
  if (!about?.looks) {
    const local = overview.pipelines.filter(({ looks }) => looks).map(({ name }) => name);
    body.append(state(`${pipeline} answers with ${about?.generate ?? "no model"}: only a local model can be looked into.`,
      el("p", { class: "fix" }, local.length ? `Choose ${local.join(" or ")} above.` : ["What helps: ", el("code", {}, "generate: {use: transformers, model: smollm2}")])));
    return;
  }
  if (!what.question) {
    ask.querySelector("textarea").focus();
    body.append(state("Ask something, and see which words of the passages the model looked at.",
      el("p", { class: "note" }, "Attention is no proof that a word was used, and its absence is none that it was not.")));
    return;
  }
  document.title = `${what.question.slice(0, 60)} · Fovea studio`;
  const look = async () => {
    try {
      const found = known(what) ?? await written(what, body, signal);
      if (!found.answer.hits.length) { body.replaceChildren(state("No passage came back, so there is nothing to look at.")); return; }
      body.replaceChildren(el("p", { class: "answer" }, found.answer.text), el("p", { class: "note busy" }, "Reading prompt and answer once more, with all heads…"));
      const heat = await post("heat", {
        question: what.question, pipeline, text: found.answer.text, hits: found.answer.hits.map(({ id }) => id),
        sentences: found.answer.sentences.map(({ start, end }) => [start, end]),
      }, signal);
      body.replaceChildren(...new Heat(heat, found.answer, signal).parts, ...retrieved(found.answer));
    } catch (error) {
      if (error.name !== "AbortError") body.replaceChildren(failure(error, look));
    }
  };
  await look();
};

const written = (what, body, signal) => {
  const text = el("p", { class: "answer writing" });
  const control = new AbortController();
  signal.addEventListener("abort", () => control.abort());
  const stop = el("button", { type: "button", onclick: () => {
    control.abort();
    body.replaceChildren(text, state("Stopped."));
  } }, "Stop");
  body.replaceChildren(el("div", { class: "row" }, el("p", { class: "note busy" }, "The model is answering…"), stop), text);
  return answer(what, { signal: control.signal, piece: (piece) => text.append(piece) });
};

// What an attention policy read of the prompt, as the trace says.
const retrieved = (found) => {
  const notes = Object.assign({}, ...(found.trace?.stages ?? []).map((stage) => stage.notes));
  const head = el("h3", { class: "part" }, "What retrieval inside the model read");
  if (!notes.attention) {
    return [head, el("p", { class: "note" }, "All of the prompt, for each token of the answer: this pipeline sets no ", el("code", {}, "generate.attention"), ".")];
  }
  const texts = new Map(found.hits.map((hit) => [hit.id, [hit, new Points(hit.text)]]));
  const some = (notes.looked_at ?? []).flatMap(({ chunk, share, spans }) => {
    const [hit, points] = texts.get(chunk) ?? [];
    return hit ? [el("li", {}, el("b", {}, percent(share)), " ", foreign(named(hit)),
      el("ul", {}, spans.filter((span) => span.share > 0).map((span) => el("li", {}, `${percent(span.share)} `,
        el("q", {}, foreign(points.slice(span.start - hit.start, span.end - hit.start))))))) ] : [];
  });
  return [head, el("p", {}, String(notes.attention)),
    some.length ? el("ul", { class: "read" }, some)
      : el("p", { class: "note" }, `Which of the ${counted(found.hits.length, "passages")} they were in is kept with `, el("code", {}, "watch: auto"), ".")];
};
