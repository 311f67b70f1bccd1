// node optimise.mjs JOB, where JOB is JSON: {sdk: 1|2, era: "legacy"|"modern", sample: bool,
// server: {url} | {command, args, env}}. Prints what came of a whole optimisation, as JSON.
import { optimise, reply } from "./program.mjs";

const { sdk, era, sample, server } = JSON.parse(process.argv[2]);
const { connect } = await import(`./sdk${sdk}.mjs`);
let asked = 0;

function sampled({ systemPrompt, messages }) {
  asked += 1;
  const text = reply(systemPrompt ?? "", messages.at(-1).content.text);
  const content = { type: "text", text };
  return { role: "assistant", model: "typescript", stopReason: "endTurn", content };
}

const client = await connect(server, { era, sample: sample ? sampled : undefined });
try {
  const tools = await client.tools(); // from here on the SDK checks results by their schemas
  const outcome = await optimise(client);
  console.log(JSON.stringify({ protocol: client.protocol(), tools, asked, ...outcome }));
} finally {
  await client.close();
}
