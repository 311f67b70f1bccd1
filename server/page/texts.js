// Every version of every text, and what changed between any two.

import { html } from "./preact.js";
import { Choice, Copy, Diff, Pick, Said, Section, Waiting, useAnswer } from "./parts.js";
import { count } from "./words.js";

const NAMED = 400;

/** What stands under the tab of that name. */
export function Texts({ summary, get, place, go }) {
  const state = useAnswer(() => get("versions", {}), [summary.revision]);
  const parameters = summary.parameters;
  if (!parameters.length) return html`<p class="quiet">There is no parameter in this session.</p>`;
  const one = parameters.find((p) => p.id === place.variable) || parameters[0];
  if (!state.answer) return html`<${Waiting} state=${state} />`;
  const line = lineage(state.answer, one.id);
  const last = line.length ? line[line.length - 1].version : one.version;
  const known = (n) => line.some((v) => v.version === n);
  const to = known(place.to) ? place.to : last;
  const from = known(place.from) ? place.from : line.length ? line[0].version : 1;
  const options = shortened(line, [from, to]).map((v) => [v.version, label(v)]);
  const step = (by) => {
    const at = line.findIndex((v) => v.version === to) + by;
    if (line[at]) go({ to: line[at].version, from: line[Math.max(0, at - 1)].version });
  };
  return html`<${Section} title="Texts" id="texts-head" aside=${html`
      ${parameters.length > 1 && html`<${Pick} label="text" value=${one.id}
        options=${parameters.map((p) => [p.id, `${p.id} ${(p.name || p.role).slice(0, 40)}`])}
        onChange=${(variable) => go({ variable, from: null, to: null })} />`}`}>
    <p class="quiet"><${Said} text=${one.role} />${one.file && html`, follows the file
      <${Said} text=${one.file} />`}</p>
    <div class="tools">
      <${Pick} label="from" value=${from} options=${options}
        onChange=${(n) => go({ from: Number(n) })} />
      <${Pick} label="to" value=${to} options=${options} onChange=${(n) => go({ to: Number(n) })} />
      <span class="pair"><button type="button" class="soft" onClick=${() => step(-1)}
        disabled=${to === line[0]?.version} title="the change before this one">‹ earlier</button>
      <button type="button" class="soft" onClick=${() => step(1)} disabled=${to === last}
        title="the change after this one">later ›</button></span>
      <${Choice} label="Compare by" value=${place.by || "words"}
        options=${[["words", "words"], ["lines", "lines"]]} onChange=${(by) => go({ by })} />
    </div>
    <${Between} get=${get} variable=${one.id} from=${from} to=${to} by=${place.by || "words"} />
    <${Lineage} line=${line} to=${to} go=${go} />
  <//>`;
}

/** The versions of one text, the oldest first. */
export function lineage(versions, variable) {
  const { step, origin } = versions[variable] || { step: [], origin: {} };
  return step.map((made, i) => ({
    version: i + 1,
    step: made,
    origin: origin[i + 1] || "",
  }));
}

/** The first and the newest versions, and those that must be among them. */
function shortened(line, must) {
  if (line.length <= NAMED) return line;
  return line.filter((v, i) => i === 0 || i >= line.length - NAMED || must.includes(v.version));
}

const label = (v) => `${v.version} · ${v.step ? `s${v.step}` : v.origin}`;

function Between({ get, variable, from, to, by }) {
  const state = useAnswer(() => Promise.all([
    get("text", { variable, version: from }),
    get("text", { variable, version: to }),
  ]), [variable, from, to]);
  if (!state.answer) return html`<${Waiting} state=${state} />`;
  const [a, b] = state.answer;
  const cut = [a, b].some((one) => one.chars > one.text.length);
  return html`<div class="sheet">
    <div class="sheethead"><span>${variable}@${from} → ${variable}@${to}</span>
      <span class="quiet">${count(b.chars)} characters</span>
      <${Copy} text=${b.text}>Copy version ${to}<//></div>
    <${Diff} old=${a.text} text=${b.text} by=${by} key=${`${from} ${to} ${by}`} />
    ${cut && html`<p class="quiet">Only the first 20,000 characters are compared.</p>`}</div>`;
}

function Lineage({ line, to, go }) {
  const shown = line.length > NAMED ? [line[0], ...line.slice(-30)] : line;
  return html`<h3>Lineage</h3><ol class="lineage">${shown.map((v) => html`<li key=${v.version}>
    <button type="button" aria-current=${v.version === to ? "true" : "false"}
      onClick=${() => go({ to: v.version, from: Math.max(1, v.version - 1) })}>
      <b>${v.version}</b> <span>${v.step ? `step ${v.step}` : v.origin}</span></button></li>`)}</ol>`;
}
