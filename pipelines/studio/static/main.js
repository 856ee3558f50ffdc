// The frame: which view the address names, and what they share.
import { get, keep } from "./api.js";
import { address } from "./address.js";
import { watch } from "./alive.js";
import { el, failure, select } from "./dom.js";

const VIEWS = { documents: "Documents", ask: "Ask", attention: "Attention", study: "Study" };
const UNDER = { document: "documents" };

const main = document.querySelector("#main");
let overview = null;
let shown = new AbortController();

const place = () => {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return { view: path || "documents", given: new URLSearchParams(query) };
};

const show = async () => {
  if (location.hash === "#main") return;
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const { view, given } = place();
  const tab = UNDER[view] ?? view;
  for (const link of document.querySelectorAll("#views a")) {
    if (link.dataset.view === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS[tab] ?? "Nothing here"} · Fovea studio`;
  main.className = `view-${tab}`;
  frame(tab, given);
  if (!(tab in VIEWS)) {
    main.replaceChildren(failure(new Error(`There is no view ${view}.`)));
    return;
  }
  const name = given.get("p") || overview.pipelines[0].name;
  try {
    const module = await import(`./${view}.js`);
    if (!signal.aborted) await module.show(main, { given, signal, overview, pipeline: name });
  } catch (error) {
    if (error.name !== "AbortError" && !signal.aborted) main.replaceChildren(failure(error, show));
  }
};

const frame = (tab, given) => {
  const which = document.querySelector("#which");
  which.hidden = overview.pipelines.length < 2;
  which.querySelector("select").value = given.get("p") || overview.pipelines[0].name;
  for (const link of document.querySelectorAll("#views a")) {
    link.href = address(link.dataset.view, { p: given.get("p") ?? "" });
  }
};

const build = () => {
  const views = Object.entries(VIEWS).filter(([view]) => view !== "study" || overview.study);
  document.querySelector("#views").replaceChildren(
    ...views.map(([view, label]) => el("a", { href: address(view, {}), "data-view": view }, label)));
  const which = document.querySelector("#which");
  const names = overview.pipelines.map(({ name }) => ({ value: name, label: name }));
  which.querySelector("select").replaceWith(select(names, "", {
    onchange: (event) => {
      const { view, given } = place();
      given.set("p", event.target.value);
      if (view === "document") location.hash = address("documents", { p: event.target.value });
      else location.hash = address(view, Object.fromEntries(given));
    },
  }));
};

const door = () => {
  if (document.querySelector("dialog")) return;
  const input = el("input", { type: "password", name: "key", autocomplete: "off", required: true, "aria-label": "Key" });
  const form = el("form", { method: "dialog", onsubmit: () => { keep(input.value); location.reload(); } },
    el("h2", {}, "This server asks for a key"),
    el("p", {}, "It is kept in this tab alone, until you close it."),
    el("div", { class: "row" }, input, el("button", { class: "main" }, "Open")));
  const dialog = el("dialog", { "aria-label": "Key" }, form);
  document.body.append(dialog);
  dialog.showModal();
};

const start = async () => {
  try {
    overview = await get("overview");
  } catch (error) {
    main.replaceChildren(failure(error, start));
    if (error.type === "lost") setTimeout(start, 1500);
    return;
  }
  build();
  watch(overview.instance);
  addEventListener("hashchange", show);
  await show();
};

addEventListener("fovea:key", door);
start();
