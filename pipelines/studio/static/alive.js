// Whether the server is there: the page says when it is not, and goes on by itself when it is back.
import { get } from "./api.js";

const OFTEN = 5000;
const WAITS = [500, 1000, 1000, 2000, 3000];

let instance = "";
let lost = 0;
let timer = 0;

const beat = async () => {
  clearTimeout(timer);
  try {
    const now = (await get("alive", {}, AbortSignal.timeout(4000))).instance;
    const back = lost > 0 || (instance !== "" && instance !== now);
    instance = now;
    lost = 0;
    document.querySelector("#banner").hidden = true;
    if (back) dispatchEvent(new Event("fovea:back"));
    timer = setTimeout(beat, OFTEN);
  } catch (error) {
    if (error.status) { timer = setTimeout(beat, OFTEN); return; } // It answers, if only to refuse.
    lose();
  }
};

const lose = () => {
  const banner = document.querySelector("#banner");
  banner.textContent = "The server does not answer. Trying again; what you see stays.";
  banner.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(beat, WAITS[Math.min(lost, WAITS.length - 1)]);
  lost += 1;
};

export const watch = (known) => {
  instance = known;
  addEventListener("fovea:lost", () => { if (lost === 0) lose(); });
  addEventListener("online", beat);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) beat(); });
  timer = setTimeout(beat, OFTEN);
};
