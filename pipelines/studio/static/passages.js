// The passages that came back, with what each stage said of them; and those that did not, with the reason.
import { post } from "./api.js";
import { el, foreign } from "./dom.js";
import { fates } from "./fates.js";
import { counted, named, number, score } from "./format.js";

export const passages = (hits, trace, open) => {
  const known = fates(trace);
  return el("ol", { class: "hits" }, hits.map((hit, at) => el("li", {},
    el("div", { class: "hithead" }, el("span", { class: "rank" }, String(at + 1)),
      el("button", { type: "button", class: "plain", onclick: () => open(hit) }, foreign(where(hit))),
      el("span", { class: "n note" }, `score ${score(hit.score)}`)),
    el("p", { class: "text", dir: "auto" }, hit.text.trim()), way(known.get(hit.id), hit))));
};

const where = (hit) => `${named(hit)}${hit.page ? `, page ${number(hit.page)}` : ""}`;

// dense 3rd 0.512 → fuse 1st ▲2
const way = (fate, hit) => {
  if (!fate) return el("p", { class: "note" }, Object.entries(hit.scores).map(([stage, value]) => `${stage} ${score(value)}`).join(" · "));
  let before = 0;
  return el("ul", { class: "way", "aria-label": "What each stage said" }, fate.path.map(({ stage, rank, score: value, of }) => {
    const moved = before && !/^retrieve/.test(stage) ? before - rank : 0;
    before = /^retrieve/.test(stage) ? Math.min(before || rank, rank) : rank;
    return el("li", {}, el("span", { class: "stage" }, stage), el("b", { title: `rank ${rank} of ${of}` }, `#${number(rank)}`), el("span", { class: "value" }, score(value)),
      moved ? el("span", { class: moved > 0 ? "up" : "down", title: `${Math.abs(moved)} ${moved > 0 ? "up" : "down"}` }, `${moved > 0 ? "▲" : "▼"}${Math.abs(moved)}`) : null);
  }));
};

// What was dropped on the way, by the stage that dropped it.
export const dropped = (trace, hits) => {
  const kept = new Set(hits.map((hit) => hit.id));
  const gone = [...fates(trace).values()].filter((fate) => !kept.has(fate.id));
  const groups = new Map();
  for (const fate of gone) {
    const by = fate.by || `the stage after ${fate.path.at(-1).stage}`;
    groups.set(by, [...(groups.get(by) ?? []), fate]);
  }
  const box = (pipeline, open, signal) => el("div", { class: "gone" }, [...groups].map(([by, some]) => group(by, some, pipeline, open, signal)));
  return { count: gone.length, box };
};

const MOST = 50;
const group = (by, some, pipeline, open, signal) => {
  some.sort((a, b) => a.path.at(-1).rank - b.path.at(-1).rank);
  const list = el("ul", {}, some.slice(0, MOST).map((fate) => el("li", {},
    el("button", { type: "button", class: "plain", onclick: async () => {
      const { chunks } = await post("chunks", { ids: [fate.id], pipeline }, signal);
      if (chunks[fate.id]) open(chunks[fate.id]);
    } }, foreign(fate.where)),
    el("span", { class: "note" }, ` ${fate.path.at(-1).stage} #${fate.path.at(-1).rank} (${score(fate.path.at(-1).score)}): ${fate.why || "not among its best"}`))));
  return [el("h3", {}, by, el("span", { class: "count" }, number(some.length))), list,
    some.length > MOST ? el("p", { class: "note" }, `and ${counted(some.length - MOST, "more")}`) : null];
};
