// Study: the trials of a sweep as they come, and its report.
import { get } from "./api.js";
import { el, failure, foreign, state } from "./dom.js";
import { counted, number, seconds } from "./format.js";

const OFTEN = 2000;
const ORDER = { running: 0, complete: 1, interrupted: 2, pruned: 3, failed: 4 };

export const show = async (main, { given, signal }) => {
  const head = el("div", { class: "head" });
  const body = el("div", { class: "below study" });
  main.replaceChildren(head, body);
  const tabs = el("div", { class: "tabs", role: "group", "aria-label": "What is shown" }, ["Trials", "Report"].map((label) =>
    el("button", { type: "button", onclick: () => choose(label) }, label)));
  let shown = "Trials";
  let last = "";
  let framed = false;
  let timer = 0;
  signal.addEventListener("abort", () => clearTimeout(timer));

  const choose = (label) => {
    shown = label;
    last = "";
    framed = false;
    load();
  };
  const load = async () => {
    clearTimeout(timer);
    try {
      const found = await get("study", {}, signal);
      draw(found);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!last) body.replaceChildren(failure(error, load));
      last = "";
    }
    timer = setTimeout(load, document.hidden ? 10 * OFTEN : OFTEN);
  };
  const draw = (found) => {
    const now = JSON.stringify(found);
    if (now === last) return;
    last = now;
    head.replaceChildren(el("h1", {}, found.study ? foreign(found.study) : "Study"), el("p", { class: "sub", role: "status" }, summary(found)), tabs);
    [...tabs.children].forEach((one) => one.setAttribute("aria-pressed", String(one.textContent === shown)));
    if (shown === "Report") {
      if (!framed) body.replaceChildren(...report(found));
      framed = true;
    } else {
      const at = body.firstElementChild?.scrollTop ?? 0;
      body.replaceChildren(table(found));
      body.firstElementChild.scrollTop = at;
    }
  };
  addEventListener("fovea:back", load, { signal });
  body.append(state("Loading…"));
  await load();
};

const over = ({ state: of }) => of !== "running" && of !== "interrupted";

const summary = (found) => {
  const done = found.rows.filter(over).length;
  const failed = found.rows.filter((row) => row.state === "failed").length;
  return [`${number(done)}${found.trials ? ` of at most ${number(found.trials)}` : ""} trials`, failed ? `${number(failed)} failed` : "",
    found.questions ? counted(found.questions, "questions") : "", found.running ? "running" : "nothing runs now"].filter(Boolean).join(" · ");
};

// As `fovea sweep` ranks them: by the first objective, and where trials are even in it, by the next.
export const ranked = ({ rows, objectives }, metrics) => {
  const mean = (row, name) => row.values[name]?.mean ?? 0;
  const sign = (name) => (objectives[name] === "minimise" ? 1 : -1);
  const better = (a, b) => metrics.map((name) => sign(name) * (mean(a, name) - mean(b, name))).find(Boolean) ?? 0;
  return [...rows].sort((a, b) => ORDER[a.state] - ORDER[b.state] || better(a, b) || a.number - b.number);
};

const table = (found) => {
  if (!found.rows.length) return state("No trial has begun yet.");
  const names = Object.keys(found.objectives);
  const metrics = names.length ? names : [...new Set(found.rows.flatMap(({ values }) => Object.keys(values)))].slice(0, 3);
  const rows = ranked(found, metrics);
  const varied = [...new Set(rows.flatMap(({ params }) => Object.keys(params)))]
    .filter((name) => new Set(rows.map(({ params }) => JSON.stringify(params[name]))).size > 1);
  const best = rows.find((row) => row.state === "complete");
  const done = rows.filter(over).length;
  const bar = found.trials ? el("progress", { max: found.trials, value: done, "aria-label": "Trials that are over" }) : null;
  return el("div", { class: "scroll", role: "region", "aria-label": "Trials", tabIndex: 0 }, bar,
    el("table", {}, el("thead", {}, el("tr", {}, ["trial", "state"].map((name) => el("th", { scope: "col" }, name)),
      metrics.map((name) => el("th", { scope: "col", class: "n" }, name, el("small", {}, found.objectives[name] ? ` ${found.objectives[name]}` : ""))),
      el("th", { scope: "col", class: "n" }, "questions"), el("th", { scope: "col", class: "n" }, "time"), varied.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.map((row) => line(row, metrics, varied, found, row === best)))));
};

const line = (row, metrics, varied, found, best) => el("tr", { class: best ? "best" : null },
  el("th", { scope: "row" }, `#${row.number}`, best ? el("span", { class: "badge" }, "best") : null),
  el("td", {}, el("span", { class: row.state === "failed" ? "status bad" : row.state === "complete" ? "status" : "quiet" }, row.state),
    row.reason ? el("small", { class: "why", title: row.reason }, foreign(row.reason.split("\n")[0])) : null),
  metrics.map((name) => el("td", { class: "n" }, measured(row.values[name]))),
  el("td", { class: "n" }, found.questions ? `${number(row.done)} of ${number(found.questions)}` : number(row.done)),
  el("td", { class: "n" }, row.seconds ? seconds(row.seconds) : "–"),
  varied.map((name) => el("td", {}, foreign(row.params[name] === undefined ? "–" : String(row.params[name])))));

const measured = (value) => {
  if (!value || value.mean === null) return "–";
  const digits = Math.abs(value.mean) >= 100 ? 0 : 3;
  const [mean, low, high] = [value.mean, value.low, value.high].map((one) => one?.toFixed(digits));
  return low === undefined ? mean : [mean, el("small", {}, ` ${low}–${high}`)];
};

const report = (found) => (found.report
  ? [el("p", { class: "note reportnote" }, el("a", { href: "api/report", target: "_blank", rel: "noopener" }, "Open it alone"), found.running ? " · it was written before the trials that run now" : ""),
    el("iframe", { src: "api/report", title: "Report of the sweep", sandbox: "allow-scripts allow-popups" })]
  : [state("There is no report yet: it is written when the sweep ends.", el("p", { class: "fix" }, "To have it now: ", el("code", {}, "fovea sweep study.yaml --report")))]);
