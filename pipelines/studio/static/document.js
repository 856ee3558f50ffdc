// One document: its text with the borders of its chunks, and what segmenters say of it.
import { get } from "./api.js";
import { address } from "./address.js";
import { el, failure, foreign, state } from "./dom.js";
import { counted, number } from "./format.js";
import { List } from "./list.js";
import { before } from "./offsets.js";
import { Finder } from "./finder.js";
import { Reader } from "./reader.js";
import { Segmented } from "./segmented.js";

export const show = async (main, view) => {
  const { given, signal, pipeline } = view;
  main.replaceChildren(back(given), state("Loading…"));
  const source = given.get("source");
  let id = given.get("id");
  try {
    if (id === null) {
      const { documents } = await get("documents", { source, pipeline }, signal);
      if (documents.length !== 1) return await several(main, view, source, documents);
      [id] = documents;
    }
    const outline = await get("document", { id, pipeline }, signal);
    await one(main, view, outline);
  } catch (error) {
    if (error.name !== "AbortError") main.replaceChildren(back(given), failure(error, () => show(main, view)));
  }
};

const back = (given) => el("p", { class: "back" }, el("a", { href: address("documents", { p: given.get("p") ?? "" }) }, "← Documents"));

// A source of several documents, or of none.
const several = async (main, { given, signal, pipeline }, source, documents) => {
  const p = given.get("p") ?? "";
  const head = el("div", { class: "head" }, el("h1", {}, foreign(source)), el("p", { class: "sub" }, counted(documents.length, "documents")));
  if (documents.length) {
    const list = new List({ signal, label: "Documents of this source", fetch: async (offset, limit) => documents.slice(offset, offset + limit),
      row: (id) => el("a", { class: "source", href: address("document", { id, p }) }, el("span", { class: "name" }, foreign(id))) });
    main.replaceChildren(back(given), head, el("div", { class: "below" }, list.box));
    list.reset(documents.length);
    return;
  }
  const { rows } = await get("sources", { pipeline, query: source, limit: 500 }, signal);
  const row = rows.find(({ name }) => name === source);
  const why = row
    ? el("div", { class: "state failed" }, el("p", { class: "what" }, foreign(row.error || "It holds no text.")),
      el("p", { class: "note" }, `Tried ${counted(row.attempts, "times")}. When it is mended: `, el("code", {}, "fovea retry qa.yaml")))
    : state("There is no such source.");
  main.replaceChildren(back(given), head, why);
};

const one = async (main, { given, signal, pipeline }, outline) => {
  const where = el("span", { class: "where", role: "status" });
  const facts = [outline.media_type, counted(outline.length, "characters"), counted(outline.lines, "lines"),
    outline.pages.length ? counted(outline.pages.length, "pages") : ""].filter(Boolean);
  const sum = el("p", { class: "sub" }, facts.join(" · "));
  let chunks = [];
  const reader = new Reader({ outline, pipeline, signal, label: "Text of the document", place: (start, end) => {
    segmented.see(start, end);
    const n = before(chunks, start, ([at]) => at) + 1;
    where.textContent = [reader.page(start), `character ${number(start)}`, n ? `chunk ${number(n)} of ${number(chunks.length)}` : ""]
      .filter(Boolean).join(" · ");
  } });
  const segmented = new Segmented({ outline, pipeline, signal, given, reader });
  const finder = new Finder({ outline, pipeline, signal, reader, wanted: given.get("find") ?? "" });
  main.replaceChildren(back(given),
    el("div", { class: "head" }, el("h1", {}, foreign(outline.title || outline.place)), sum),
    outline.title && outline.title !== outline.place ? el("p", { class: "note under" }, foreign(outline.place)) : "",
    el("div", { class: "tools" }, finder.box, segmented.choice, where),
    segmented.strips, reader.box);
  if (!outline.length) { reader.box.replaceWith(state("This document holds no text.")); return; }
  const start = Number(given.get("start"));
  if (given.has("start")) reader.go(start, Number(given.get("end") ?? start));
  ({ chunks } = await get("document/chunks", { id: outline.id, pipeline }, signal));
  sum.textContent = [...facts, counted(chunks.length, "chunks")].join(" · ");
  segmented.stored(chunks);
  finder.start();
};
