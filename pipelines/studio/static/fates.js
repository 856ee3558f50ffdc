// Every chunk's way through the stages, from the trace: its rank and score in each, and where and why it ended.
export const fates = (trace) => {
  const found = new Map();
  for (const stage of trace?.stages ?? []) {
    (stage.hits ?? []).forEach(([id, score, where], at) => {
      if (!found.has(id)) found.set(id, { id, where, path: [], by: "", why: "" });
      found.get(id).path.push({ stage: stage.name, rank: at + 1, score, of: stage.hits.length });
    });
    for (const [id, why] of Object.entries(stage.dropped ?? {})) {
      const fate = found.get(id);
      if (fate) Object.assign(fate, { by: stage.name, why });
    }
  }
  return found;
};
