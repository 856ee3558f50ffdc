// Answers as they come, and those that came: going back shows them again without asking the model.
import { Failure, events } from "./api.js";

const KEPT = 20;
const kept = new Map();

const name = (asked) => JSON.stringify([asked.pipeline, asked.question, asked.k ?? null, asked.where ?? ""]);

export const known = (asked) => kept.get(name(asked));

// The answer to `asked`; `piece` is told of its text as it is written. Aborting `signal` stops the model.
export const answer = async (asked, { piece, signal }) => {
  const body = { question: asked.question, pipeline: asked.pipeline, stream: true };
  if (asked.k) body.k = asked.k;
  if (asked.where) body.where = asked.where;
  const began = performance.now();
  for await (const [kind, data] of events("../../ask", body, signal)) {
    if (kind === "piece") piece(data.text);
    else if (kind === "error") throw new Failure(data.error.message, data.error);
    else if (kind === "answer") {
      const found = { answer: data, seconds: (performance.now() - began) / 1000, at: new Date() };
      kept.delete(name(asked));
      kept.set(name(asked), found);
      if (kept.size > KEPT) kept.delete(kept.keys().next().value);
      return found;
    }
  }
  throw new Failure("The answer broke off.", { type: "lost" });
};
