"use strict";
// The page is whole without this script, which adds sorting, a choice of pairs, tips for fingers and a copy button.
const number = (cell) => {
  const found = parseFloat(cell.textContent.trim().replace("−", "-").replace(/^#/, ""));
  return Number.isNaN(found) ? null : found;
};
const compare = (column, sign) => (a, b) => {
  const [x, y] = [a.cells[column], b.cells[column]];
  const [p, q] = [number(x), number(y)];
  if (p !== null && q !== null) return sign * (p - q);
  const [s, t] = [x.textContent.trim(), y.textContent.trim()];
  if ((s === "–") !== (t === "–")) return s === "–" ? 1 : -1;
  return sign * s.localeCompare(t);
};
const sort = (table, column) => {
  const head = table.tHead.rows[0].cells;
  const up = head[column].getAttribute("aria-sort") !== "ascending";
  for (const cell of head) cell.removeAttribute("aria-sort");
  head[column].setAttribute("aria-sort", up ? "ascending" : "descending");
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare(column, up ? 1 : -1)));
};
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    button.addEventListener("click", () => sort(table, column));
    cell.append(button);
  });
}
for (const figure of document.querySelectorAll(".scatter")) {
  const tip = figure.querySelector(".tip");
  tip.textContent = "Point at a trial to see what differs from the baseline.";
  const show = (event) => {
    const title = event.target.classList.contains("p") && event.target.querySelector("title");
    if (title) tip.textContent = title.textContent;
  };
  for (const kind of ["pointerover", "focusin", "click"]) figure.addEventListener(kind, show);
}
const pairs = [...document.querySelectorAll(".pair")];
if (pairs.length > 1) {
  const label = document.createElement("label");
  const select = document.createElement("select");
  pairs.forEach((pair, at) => select.append(new Option(pair.dataset.title, at)));
  const choose = () => pairs.forEach((pair, at) => {
    pair.hidden = at !== Number(select.value);
    pair.open = !pair.hidden;
  });
  select.addEventListener("change", choose);
  label.className = "pick";
  label.append("Compare ", select);
  pairs[0].parentNode.before(label);
  choose();
}
for (const block of document.querySelectorAll(".copyable")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const range = document.createRange();
    range.selectNodeContents(block);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    try {
      await navigator.clipboard.writeText(block.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected: press Ctrl+C";
    }
  });
  block.before(button);
}
addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details")) one.open = !one.closest("[hidden]");
});
