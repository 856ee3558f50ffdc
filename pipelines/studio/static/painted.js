// A part of a document as nodes: its text, with the borders of chunks, the pages and the marks that lie in it.
import { el } from "./dom.js";
import { number } from "./format.js";
import { Points, before } from "./offsets.js";

// `layers` hold [start, end] in characters of the document, rising; the part is [start, end) of it.
export const painted = (text, start, end, layers, pages) => {
  const points = new Points(text);
  const edges = new Set([start, end]);
  const borders = new Map(); // place: nodes that stand there
  const stand = (at, node) => {
    edges.add(at);
    borders.set(at, [...(borders.get(at) ?? []), node]);
  };
  within(pages.map((at) => [at, at]), start, end, true).forEach(([at, , n]) => stand(at, page(n + 1)));
  within(layers.chunks, start, end, true).forEach(([at, , n]) => stand(at, border(n + 1, "first", layers.chunks.length)));
  within(layers.others, start, end, true).forEach(([at, , n]) => stand(at, border(n + 1, "second", layers.others.length)));
  const spans = [
    ...twice(layers.chunks, start, end).map(([low, high]) => ({ low, high, kind: "twice" })),
    ...within(layers.found, start, end).map(([low, high]) => ({ low, high, kind: "found" })),
    ...within(layers.marks, start, end).map(([low, high, n]) => ({ low, high, kind: "mark", of: layers.marks[n] })),
  ];
  for (const { low, high } of spans) edges.add(Math.max(low, start)).add(Math.min(high, end));
  const sorted = [...edges].sort((a, b) => a - b);
  const nodes = [];
  for (let i = 0; i < sorted.length; i += 1) {
    const at = sorted[i];
    nodes.push(...(borders.get(at) ?? []));
    if (at >= end || sorted[i + 1] === undefined) continue;
    const piece = points.slice(at - start, sorted[i + 1] - start);
    nodes.push(wrapped(piece, at, sorted[i + 1], spans, layers.current));
  }
  return nodes;
};

const wrapped = (piece, low, high, spans, current) => {
  const over = spans.filter((span) => span.low <= low && span.high >= high);
  if (!over.length) return document.createTextNode(piece);
  const kinds = new Set(over.map((span) => span.kind));
  const now = current && over.some((span) => span.kind !== "twice" && span.low === current[0] && span.high === current[1]);
  const marked = over.find((span) => span.kind === "mark");
  const tag = kinds.has("mark") || kinds.has("found") ? "mark" : "span";
  const node = el(tag, { class: [...kinds, now ? "now" : ""].join(" ").trim(), "data-at": low, title: marked?.of?.[2] }, piece);
  if (marked?.of?.[3] !== undefined) node.style.setProperty("--share", marked.of[3]);
  return node;
};

// Those of a rising list that touch [start, end), or with `begin` those that begin in it, each with its number.
const within = (list, start, end, begin = false) => {
  const found = [];
  let n = Math.max(0, before(list, start, (one) => one[0]));
  while (n > 0 && !begin && list[n - 1][1] > start) n -= 1;
  for (; n < list.length && list[n][0] < end; n += 1) {
    const [low, high] = list[n];
    if (begin ? low >= start : high > start) found.push([low, high, n]);
  }
  return found;
};

// What two chunks hold both.
const twice = (chunks, start, end) => {
  const found = [];
  within(chunks, start, end).forEach(([, high, n]) => {
    const next = chunks[n + 1];
    if (next && next[0] < high) found.push([next[0], Math.min(high, next[1])]);
  });
  return found.filter(([low, high]) => high > start && low < end);
};

const border = (n, kind, of) =>
  el("span", { class: `border ${kind}`, role: "note", "aria-label": `chunk ${n} of ${of}`, "data-label": number(n) });

const page = (n) => el("span", { class: "page", role: "separator", "aria-label": `page ${n}`, "data-label": `page ${number(n)}` });
