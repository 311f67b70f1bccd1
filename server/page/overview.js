// The answer first, then the steps that led to it, then the program.

import { html } from "./preact.js";
import { ScoreChart } from "./chart.js";
import { Graph } from "./graph.js";
import { Diff, Said, Section, Verdict, Waiting, useAnswer } from "./parts.js";
import { chance, count, dollars, gain, plural, score, short, unbroken } from "./words.js";

const OWN_LOSS = "the program's own loss";
const SPLITS = ["test", "validation", "train", OWN_LOSS];

/** The scores that say most: held-out before the others. */
export function told(summary) {
  const found = summary.scores.filter((one) => one.loss === mainLoss(summary));
  return SPLITS.map((split) => found.find((one) => one.split === split)).find(Boolean) || null;
}

function mainLoss(summary) {
  const last = summary.readings[summary.readings.length - 1];
  const test = summary.readings.filter((one) => one.split === "test").pop();
  return (test || last || {}).loss;
}

/** The headline: the figure, the sentence, and how much there was of everything. */
export function Hero({ summary, onWorse }) {
  const best = told(summary);
  return html`<div class="hero">
    ${best && html`<div class="figure">
      <p class="kicker">${best.split === OWN_LOSS ? best.split
    : best.split === "test" ? "held-out score" : `${best.split} score`}</p>
      <p class="big">${best.evaluations > 1
    ? html`<span class="from">${score(best.first.mean)}</span>
          <span class="arrow" role="img" aria-label="to">→</span>`
    : ""}<span>${score(best.latest.mean)}</span></p>
      ${best.gain !== null && html`<p class="under">${gain(best.gain, best.error)}
        <span class="quiet"> ${best.paired ? "paired, one standard error" : "one standard error"}
        </span></p>`}
      ${best.paired && html`<p class="under"><span class="up">${count(best.better)} better</span>
        ${" · "}${best.worse > 0 && best.split !== "test"
    ? html`<button type="button" class="link down" onClick=${() => onWorse(best)}>
          ${count(best.worse)} worse</button>`
    : html`<span class=${best.worse ? "down" : ""}>${count(best.worse)} worse</span>`}
        ${" · "}${count(best.same)} the same</p>`}
    </div>`}
    <div class="sentence">
      <p class="headline">${unbroken(summary.headline)}</p>
      <${Facts} summary=${summary} />
    </div>
  </div>`;
}

function Facts({ summary }) {
  const { examples, price } = summary;
  const sizes = ["train", "validation", "test"].filter((split) => examples[split])
    .map((split) => `${split} ${short(examples[split])}`).join(" · ");
  const facts = [
    ["steps", summary.steps
      ? `${short(summary.accepted)} of ${short(summary.steps)} accepted` : "none yet"],
    ["calls", [short(price.calls), price.tokens && `${short(price.tokens)} tokens`,
      price.cost && dollars(price.cost)].filter(Boolean).join(" · ")],
    ["examples", sizes || "none"],
    summary.test_reads > 0 && ["test split", `read ${plural(summary.test_reads, "time")}`],
  ].filter(Boolean);
  return html`<dl class="facts">${facts.map(([name, words]) => html`<div key=${name}>
    <dt>${name}</dt><dd>${words}</dd></div>`)}</dl>`;
}

/** What stands under the tab of that name. */
export function Overview({ summary, get, place, go, print }) {
  const steps = summary.steps_taken;
  return html`
    <${Section} title="Score over steps" id="chart-head">
      ${steps.n.length || summary.readings.length
    ? html`<${ScoreChart} steps=${steps} readings=${shownReadings(summary)} step=${place.step}
          onStep=${(step) => go({ step })} />`
    : html`<${Nothing} summary=${summary} />`}
    <//>
    ${place.step && html`<${Step} get=${get} step=${place.step} revision=${summary.revision}
      go=${go} />`}
    <${Program} get=${get} revision=${summary.revision} />
    ${summary.run && summary.run.status === "needs_completions" && !print
      && html`<${Pending} get=${get} revision=${summary.revision} />`}`;
}

function shownReadings(summary) {
  const loss = mainLoss(summary);
  return summary.readings.filter((one) => one.loss === loss);
}

function Nothing({ summary }) {
  if (!summary.losses.length) {
    return html`<p class="quiet">There is no loss yet: compute_loss says how an output is judged.
      </p>`;
  }
  return html`<p class="quiet">No step yet: backward and step make one, or optimize runs the whole
    loop.</p>`;
}

/** One step: what the gate said, the feedback that led to it, and every proposal. */
export function Step({ get, step, revision, go }) {
  const state = useAnswer(() => get("step", { step }), [step, revision]);
  const one = state.answer;
  if (!one) return html`<section><${Waiting} state=${state} /></section>`;
  const title = html`Step ${one.n} <${Verdict} accepted=${one.accepted} />`;
  const figures = one.gain === null ? null
    : `${score(one.before)} → ${score(one.before + one.gain)} on ${count(one.examples)} `
      + `${one.split} examples, gain ${gain(one.gain, one.error)}, p ${chance(one.p)}`;
  return html`<${Section} title=${title} id="step-head">
    <p class="gate">${figures ? unbroken(figures) : html`<${Said} text=${one.gate} />`}</p>
    ${one.gradients.length > 0 && html`<h3>Feedback that led to it</h3>
      <ul class="feedback">${one.gradients.map((g) => html`<li key=${g.id}>
        <p class="quiet">${g.id} on ${g.variable}@${g.version}${g.examples.length > 0 && html`, from
          ${" "}${g.examples.slice(0, 8).map((e) => html`<button type="button" class="link" key=${e}
            onClick=${() => go({ tab: "examples", example: e })}>${e}</button> `)}
          ${g.examples.length > 8 ? `and ${g.examples.length - 8} more` : ""}`}</p>
        <blockquote><${Said} text=${g.text} block=${true} /></blockquote></li>`)}</ul>`}
    <h3>${plural(one.proposals.length, "proposal")}</h3>
    ${one.proposals.map((p, n) => html`<${Proposal} key=${p.id} p=${p}
      open=${p.verdict === "accepted" || (!one.accepted && n === best(one.proposals))} />`)}
  <//>`;
}

/** The proposal that came furthest. */
function best(proposals) {
  let found = 0;
  proposals.forEach((p, n) => {
    if ((p.score ?? -1) > (proposals[found].score ?? -1)) found = n;
  });
  return found;
}

function Proposal({ p, open }) {
  const accepted = p.verdict === "accepted";
  const words = accepted ? `accepted as ${p.variable}@${p.version}` : `refused: ${p.fate}`;
  const figures = p.score === null ? "" : `${score(p.parent_score)} → ${score(p.score)}`;
  return html`<details class="proposal" open=${open}>
    <summary><span class="id">${p.id}</span> <${Verdict} accepted=${accepted}>${words}<//>
      <span class="figures">${figures}</span></summary>
    <${Diff} old=${p.old} text=${p.text} />
    <p class="reason"><${Said} text=${p.reason} /></p>
    ${p.chars && html`<p class="quiet">The first part of ${count(p.chars)} characters.</p>`}
  </details>`;
}

function Program({ get, revision }) {
  const state = useAnswer(() => get("graph", {}), [revision]);
  return html`<${Section} title="Program" id="graph-head">
    ${state.answer ? html`<${Graph} graph=${state.answer} />` : html`<${Waiting} state=${state} />`}
  <//>`;
}

function Pending({ get, revision }) {
  const state = useAnswer(() => get("pending", {}), [revision]);
  const found = state.answer;
  if (!found || !found.total) return null;
  return html`<${Section} title=${`Waiting for answers (${count(found.total)})`} id="pending-head">
    ${found.pending.map((one) => html`<details key=${one.id} class="proposal">
      <summary><span class="id">${one.id}</span> ${one.purpose}
        <span class="quiet"> <${Said} text=${one.about} /></span></summary>
      ${one.system && html`<h4>system</h4><pre><${Said} text=${one.system} /></pre>`}
      <h4>prompt</h4><pre><${Said} text=${one.prompt} /></pre></details>`)}
    ${found.total > found.pending.length
      && html`<p class="quiet">${count(found.total - found.pending.length)} more.</p>`}
  <//>`;
}
