// What the page asks the server for, and what went wrong if it did.
const ROOT = new URL("api/", import.meta.url);
const KEY = "fovea-key";

export class Failure extends Error {
  constructor(message, { fix = "", status = 0, type = "" } = {}) {
    super(message);
    Object.assign(this, { fix, status, type });
  }
}

const headers = () => {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
};

export const keep = (key) => sessionStorage.setItem(KEY, key);

// Halves of surrogate pairs cannot be in an address.
const safe = (value) => (String(value).isWellFormed?.() === false ? String(value).toWellFormed() : String(value));

const asked = async (url, options) => {
  let reply;
  try {
    reply = await fetch(url, { ...options, headers: { ...headers(), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    dispatchEvent(new Event("fovea:lost"));
    throw new Failure("The server does not answer.", { fix: "start it again: fovea studio qa.yaml", type: "lost" });
  }
  if (!reply.ok) throw await told(reply);
  return reply;
};

const told = async (reply) => {
  const said = await reply.json().catch(() => ({}));
  const error = said.error ?? {};
  if (reply.status === 401) dispatchEvent(new Event("fovea:key"));
  const message = error.message ?? (typeof said.detail === "string" ? said.detail : `The server said ${reply.status}.`);
  return new Failure(message, { fix: error.fix, status: reply.status, type: error.type });
};

export const get = async (path, given = {}, signal) => {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(given)) url.searchParams.set(name, safe(value));
  return (await asked(url, { signal })).json();
};

const posted = (path, body, signal) =>
  asked(new URL(path, ROOT), {
    method: "POST", signal, body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  });

export const post = async (path, body, signal) => (await posted(path, body, signal)).json();

// Server-sent events, as [kind, data], of a POST: an EventSource can only GET.
export async function* events(path, body, signal) {
  const reply = await posted(path, body, signal);
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const found = parsed(part);
        if (found) yield found;
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    dispatchEvent(new Event("fovea:lost"));
    throw new Failure("The connection was lost before the answer was there.", { type: "lost" });
  }
}

const parsed = (part) => {
  let kind = "message";
  const data = [];
  for (const line of part.split("\n")) {
    if (line.startsWith("event:")) kind = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length ? [kind, JSON.parse(data.join("\n"))] : null;
};
