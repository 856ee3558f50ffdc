// Numbers as people read them, with their units; and documents by their names.
const whole = new Intl.NumberFormat("en");

export const number = (value) => whole.format(value);

export const counted = (value, things) => `${number(value)} ${value === 1 ? things.replace(/s$/, "") : things}`;

export const bytes = (value) => {
  if (value < 1000) return `${value} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let at = -1;
  do { value /= 1000; at += 1; } while (value >= 999.5 && at < units.length - 1);
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
};

export const seconds = (value) => {
  if (value < 0.0995) return `${(value * 1000).toFixed(value < 0.00995 ? 1 : 0)} ms`;
  if (value < 99.5) return `${value.toFixed(value < 9.95 ? 2 : 1)} s`;
  const minutes = Math.floor(value / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(value % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};

export const percent = (share) => `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;

export const score = (value) => {
  const size = Math.abs(value);
  return (size >= 1000 || value === 0 ? value.toFixed(0) : size >= 0.0001 ? value.toPrecision(4) : value.toExponential(1))
    .replace("-", "−");
};

export const moment = (iso) => {
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? iso : at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
};

// By its file, and where that holds several (rows, members of an archive), by its own name, which begins with the file's.
export const named = ({ source, document }) => document.startsWith(`${source}#`) ? document : source || document;
