// Elements made of text alone: nothing in the studio turns text into markup, and the page's policy forbids it.
const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "selected", "tabIndex"]);

export const el = (tag, given = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (PROPERTIES.has(key)) made[key] = value;
    else if (value !== false) made.setAttribute(key === "class" ? "class" : key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
};

const SVG = "http://www.w3.org/2000/svg";
export const svg = (tag, given = {}, ...children) => {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

// A text of a document, or a name: what it does to the direction of writing ends with it.
export const foreign = (text, given = {}) => el("bdi", given, text);

export const select = (options, value, given = {}) => {
  const made = el("select", given);
  for (const one of options) {
    if (one.group) made.append(el("optgroup", { label: one.group }, one.options.map(option)));
    else made.append(option(one));
  }
  made.value = value;
  return made;
};

const option = ({ value, label }) => el("option", { value }, label);

export const after = (milliseconds, act) => {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), milliseconds);
  };
};

// What is shown in the place of something that is empty, on its way, or failed.
export const state = (text, ...more) => el("div", { class: "state" }, el("p", {}, text), ...more);

export const failure = (error, again) =>
  el("div", { class: "state failed", role: "alert" },
    el("p", { class: "what" }, foreign(error.message)),
    error.fix ? el("p", { class: "fix" }, "What helps: ", el("code", {}, error.fix)) : null,
    again ? el("button", { type: "button", onclick: again }, "Try again") : null);
