// A program to optimise, the model that answers for it, and the whole way through by hand and by
// itself. Knows no SDK: `client` is what sdk1.mjs and sdk2.mjs make.

const SUMS = { "1+1?": "2", "2+2?": "4", "3+1?": "4", "2+5?": "7", "4+5?": "9" };
const EXACT = {
  kind: "metric",
  metric: "exact_match",
  inputs: { output: "v4", answer: "v3" },
};

/** A model that does sums only when its instructions speak of digits. */
export function reply(system, prompt) {
  if (prompt in SUMS) return system.includes("digits") ? SUMS[prompt] : "Two, I should say.";
  if (prompt.includes('"value"')) return '{"value": "Answer with digits only."}';
  return '{"v1": "Ask for digits only."}';
}

/** Call tools until nothing is pending; each answer is the model's. Counts the calls by tool. */
function caller(client, used, answered) {
  return async function call(name, args) {
    used[name] = (used[name] ?? 0) + 1;
    const result = await client.callTool({ name, arguments: args });
    if (result.isError) throw new Error(`${name}: ${result.content[0].text}`);
    const facts = result.structuredContent;
    if (facts.status !== "needs_completions") return facts;
    const completions = Object.fromEntries(
      facts.pending.map(({ id, system, prompt }) => [id, reply(system ?? "", prompt)]),
    );
    answered.push(...Object.keys(completions));
    return call("resume", { session_id: facts.session_id, completions });
  };
}

async function build(call) {
  const { session_id } = await call("create_variable", {
    role: "system prompt",
    value: "Be kind.",
  });
  const field = { session_id, role: "a field" };
  await call("create_variable", { ...field, example_field: "question" });
  await call("create_variable", { ...field, example_field: "answer", reference: true });
  await call("forward", {
    session_id,
    operation: "llm",
    system: "v1",
    inputs: { question: "v2" },
  });
  const rows = Object.entries(SUMS).map(([question, answer]) => ({ question, answer }));
  await call("add_examples", { session_id, split: "train", examples: rows.slice(0, 2) });
  await call("add_examples", { session_id, split: "validation", examples: rows.slice(2) });
  return session_id;
}

async function byHand(call, session_id) {
  await call("forward", { session_id });
  const { mean_score } = await call("compute_loss", { session_id, ...EXACT });
  await call("backward", { session_id });
  await call("step", { session_id, accept: "if_better" });
  return { before: mean_score };
}

/** A whole optimisation; gives what a reader needs to believe it. */
export async function optimise(client) {
  const used = {};
  const answered = [];
  const call = caller(client, used, answered);
  const session_id = await build(call);
  const graph = `textgrad://sessions/${session_id}/graph`;
  const { heard } = await client.watch(graph);
  const hand = await byHand(call, session_id);
  const announced = await heard;
  const { mean_score: after } = await call("evaluate", { session_id });
  await call("revert", { session_id, variable: "v1", version: 1 });
  const { status } = await call("optimize", { session_id, strategy: "gradient", steps: 1, candidates: 1 });
  const { view } = await call("inspect", { session_id, id: "v1" });
  const examples = Object.entries(SUMS).map(([question, answer]) => ({ question, answer }));
  await call("optimize_prompt", { prompt: "Be kind.", examples, metric: "exact_match" });
  const { view: report } = await call("inspect", { session_id, what: "report" });
  const page = await client.read(`textgrad://sessions/${session_id}/report`);
  return {
    ...hand,
    after,
    optimize: status,
    text: view.text,
    accepted: report.proposals.accepted,
    calls: report.price.calls,
    page,
    announced: announced === graph,
    answered: answered.length,
    used,
  };
}
