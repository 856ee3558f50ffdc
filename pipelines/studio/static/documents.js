// Documents: every source with its state, its size and, where it failed, the reason.
import { get } from "./api.js";
import { after, el, failure, foreign, select, state } from "./dom.js";
import { bytes, counted, moment, number } from "./format.js";
import { List } from "./list.js";
import { address } from "./address.js";

const STATES = [["", "All"], ["ok", "Ready"], ["failed", "Failed"]];
const ORDERS = [
  { value: "name", label: "by name" }, { value: "size", label: "largest first" },
  { value: "chunks", label: "most chunks first" }, { value: "updated", label: "latest first" },
];

export const show = async (main, { given, signal, pipeline }) => {
  const wanted = {
    pipeline, query: given.get("find") ?? "", state: given.get("state") ?? "", order: given.get("order") ?? "name",
  };
  const fetch = async (offset, limit) => (await get("sources", { ...wanted, offset, limit }, signal)).rows;
  const list = new List({ fetch, row: (row) => line(row, given.get("p") ?? ""), label: "Sources", signal });
  const sum = el("p", { class: "sub", role: "status" });
  const below = el("div", { class: "below" });

  const load = async () => {
    try {
      const found = await get("sources", { ...wanted, offset: 0, limit: 100 }, signal);
      sum.textContent = [counted(found.sources, "sources"), counted(found.documents, "documents"),
        counted(found.chunks, "chunks")].join(" · ");
      for (const tab of tabs.children) {
        const of = tab.dataset.state;
        const count = of ? found.states[of] ?? 0 : Object.values(found.states).reduce((a, b) => a + b, 0);
        tab.lastChild.textContent = number(count);
      }
      list.reset(found.found, found.rows);
      below.replaceChildren(found.found ? list.box : nothing(found, wanted));
    } catch (error) {
      if (error.name !== "AbortError") below.replaceChildren(failure(error, load));
    }
  };
  const changed = () => {
    const { query, state: of, order } = wanted;
    history.replaceState(null, "", address("documents", { p: given.get("p") ?? "", find: query, state: of, order: order === "name" ? "" : order }));
    for (const tab of tabs.children) tab.setAttribute("aria-pressed", String(tab.dataset.state === of));
    load();
  };

  const find = el("input", { type: "search", placeholder: "Find a source, or a reason", "aria-label": "Find a source",
    value: wanted.query, oninput: after(120, () => { wanted.query = find.value.trim(); changed(); }),
    onkeydown: (event) => { if (event.key === "ArrowDown" && list.count) { event.preventDefault(); list.focus(0); } } });
  const tabs = el("div", { class: "tabs", role: "group", "aria-label": "State" }, STATES.map(([value, label]) =>
    el("button", { type: "button", "data-state": value, "aria-pressed": String(value === wanted.state),
      onclick: () => { wanted.state = value; changed(); } }, label, el("span", { class: "count" }, ""))));
  const order = select(ORDERS, wanted.order, { "aria-label": "Order",
    onchange: () => { wanted.order = order.value; changed(); } });

  main.replaceChildren(
    el("div", { class: "head" }, el("h1", {}, "Documents"), sum),
    el("div", { class: "tools" }, find, tabs, order), below);
  below.append(state("Loading…"));
  addEventListener("fovea:back", load, { signal });
  await load();
};

const line = (row, p) => {
  const failed = row.state !== "ok";
  const slash = row.name.lastIndexOf("/") + 1;
  return el("a", { class: failed ? "source bad" : "source", href: address("document", { source: row.name, p }) },
    el("span", { class: "name" }, foreign(row.name.slice(0, slash), { class: "folder" }), foreign(row.name.slice(slash))),
    failed ? el("span", { class: "reason" }, foreign(reason(row))) : null,
    el("span", { class: failed ? "status bad" : "status" }, failed ? "failed" : "ready"),
    el("span", { class: "n" }, bytes(row.bytes)),
    el("span", { class: "n" }, counted(row.chunks, "chunks")),
    el("span", { class: "when" }, moment(row.updated)));
};

const reason = ({ name, error }) => (error.startsWith(`${name}: `) ? error.slice(name.length + 2) : error).split("\n")[0];

const nothing = (found, wanted) => {
  if (!found.sources) return state("Nothing is in the store yet.", el("p", { class: "fix" }, "What helps: ", el("code", {}, "fovea ingest qa.yaml docs/")));
  if (wanted.state === "failed" && !wanted.query) return state("No source has failed.");
  return state(`No source holds “${wanted.query}”.`);
};
