// All steps in a table, and how far proposals came.

import { html, useMemo } from "./preact.js";
import { Choice, Section, Verdict } from "./parts.js";
import { Step } from "./overview.js";
import { List } from "./table.js";
import { chance, count, gain, score } from "./words.js";

/** What stands under the tab of that name. */
export function Steps({ summary, get, place, go, print, width }) {
  const steps = summary.steps_taken;
  const kind = place.verdict || "all";
  const chosen = useMemo(() => [...steps.n.keys()].reverse().filter((i) => kind === "all"
    || (kind === "accepted") === Boolean(steps.accepted[i])), [steps, kind]);
  if (!steps.n.length) return html`<p class="quiet">There are no steps yet.</p>`;
  const at = chosen.findIndex((i) => steps.n[i] === place.step);
  const narrow = width < 560;
  return html`
    <${Section} title="Proposals" id="funnel-head"><${Funnel} summary=${summary} /><//>
    <${Section} title="Steps" id="steps-head" aside=${html`<${Choice} label="Which steps" value=${kind}
      onChange=${(verdict) => go({ verdict })} options=${[
  ["all", "all", count(summary.steps)],
  ["accepted", "accepted", count(summary.accepted)],
  ["refused", "refused", count(summary.steps - summary.accepted)]]} />`}>
      <${List} count=${chosen.length} height=${narrow ? 62 : 40} label="Steps, the newest first"
        chosen=${at < 0 ? null : at} print=${print}
        onChoose=${(n) => go({ step: steps.n[chosen[n]] })}
        head=${!narrow && html`<span>step</span><span>verdict</span><span class="num">before</span>
          <span class="num">after</span><span class="num">gain</span><span class="num">p</span>
          <span class="num">examples</span>`}
        row=${(n) => html`<${Row} steps=${steps} i=${chosen[n]} narrow=${narrow} />`} />
    <//>
    ${place.step && !print && html`<${Step} get=${get} step=${place.step}
      revision=${summary.revision} go=${go} />`}`;
}

function Row({ steps, i, narrow }) {
  const accepted = Boolean(steps.accepted[i]);
  const size = steps.gain[i] === null ? "–" : gain(steps.gain[i], steps.error[i]);
  if (narrow) {
    return html`<span class="two"><span>s${steps.n[i]} <${Verdict} accepted=${accepted} /></span>
      <span class="quiet">${score(steps.before[i])} → ${score(steps.after[i])}, ${size}</span></span>`;
  }
  return html`<span class="cells steps"><span class="id">s${steps.n[i]}</span>
    <span><${Verdict} accepted=${accepted} /></span>
    <span class="num">${score(steps.before[i])}</span><span class="num">${score(steps.after[i])}</span>
    <span class="num">${size}</span><span class="num">${chance(steps.p[i])}</span>
    <span class="num">${steps.examples[i] || "–"}</span></span>`;
}

function Funnel({ summary }) {
  const { funnel, proposals } = summary;
  const bars = [
    ["proposed", funnel.proposed],
    ["usable texts", funnel.usable],
    ["compared on the split", funnel.compared],
    ["accepted", funnel.accepted],
  ];
  const most = Math.max(1, funnel.proposed);
  const refused = Object.entries(proposals).filter(([name]) => name !== "accepted")
    .map(([name, n]) => [name.replace(/^refused: /, ""), n]);
  return html`<div class="columns">
    <dl class="bars">${bars.map(([name, n]) => html`<div key=${name}><dt>${name}</dt>
      <dd><i style=${`width:${(100 * n) / most}%`}></i><span>${count(n)}</span></dd></div>`)}</dl>
    <div><h3>Why they were refused</h3>
      ${refused.length ? html`<ul class="tally">${refused.map(([name, n]) => html`
        <li key=${name}><span class="num">${count(n)}</span> ${name}</li>`)}</ul>`
    : html`<p class="quiet">None was refused.</p>`}</div></div>`;
}
