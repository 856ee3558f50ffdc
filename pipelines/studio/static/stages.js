// What each stage did, what it took, and what it warned of.
import { el } from "./dom.js";
import { counted, seconds } from "./format.js";

const said = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));

export const stages = (trace) => {
  const most = Math.max(...trace.stages.map((stage) => stage.seconds), 1e-6);
  return el("div", { class: "stagelist", role: "table", "aria-label": "Stages" }, trace.stages.map((stage) => {
    const bar = el("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${Math.max(0.5, (stage.seconds / most) * 100)}%`;
    const facts = [...Object.entries(stage.counts).map(([what, n]) => counted(n, what)),
      ...Object.entries(stage.notes).filter(([what]) => what !== "looked_at").map(([what, value]) => `${what}: ${said(value)}`)];
    return el("div", { class: "stagerow", role: "row" },
      el("span", { role: "cell", class: "stagename" }, stage.name),
      el("span", { role: "cell", class: "n" }, seconds(stage.seconds)),
      el("span", { role: "cell", class: "track" }, bar),
      el("span", { role: "cell", class: "note did" }, facts.join(" · "), Object.entries(stage.warnings).map(([what, times]) =>
        el("span", { class: "warned" }, times > 1 ? `${what} (${counted(times, "times")})` : what))));
  }));
};
