// What it took: by purpose, by step, call by call.

import { html, useState } from "./preact.js";
import { Said, Section, Waiting, useAnswer, useWidth } from "./parts.js";
import { count, dollars, plural, short, when } from "./words.js";

const ORDER = ["forward", "external", "judge", "gradient", "reduce", "update", "compare"];
const TOLD = {
  forward: "the program's own model",
  external: "black boxes",
  judge: "judgements",
  gradient: "feedback",
  reduce: "feedback put together",
  update: "rewrites",
  compare: "comparisons in pairs",
};

/** What stands under the tab of that name. */
export function Cost({ summary, get, place, go }) {
  const purposes = Object.entries(summary.price.by_purpose)
    .sort(([a], [b]) => ORDER.indexOf(a) - ORDER.indexOf(b));
  const priced = summary.price.cost > 0;
  const tokens = summary.price.tokens > 0;
  return html`
    <${Section} title="By purpose" id="purpose-head">
      ${purposes.length === 0 ? html`<p class="quiet">No call was answered yet.</p>` : html`
      <div class="scroll" tabindex="0" role="group" aria-label="Calls by purpose"><table>
        <thead><tr><th scope="col">purpose</th><th scope="col" class="num">calls</th>
          ${tokens && html`<th scope="col" class="num">prompt tokens</th>
            <th scope="col" class="num">completion tokens</th>`}
          ${priced && html`<th scope="col" class="num">dollars</th>`}</tr></thead>
        <tbody>${purposes.map(([name, used]) => html`<tr key=${name}>
          <th scope="row">${name} <span class="quiet">${TOLD[name] || ""}</span></th>
          <td class="num">${count(used.calls || 0)}</td>
          ${tokens && html`<td class="num">${count(used.prompt_tokens || 0)}</td>
            <td class="num">${count(used.completion_tokens || 0)}</td>`}
          ${priced && html`<td class="num">${used.cost ? dollars(used.cost) : "–"}</td>`}
          </tr>`)}</tbody></table></div>`}
      <${Budget} summary=${summary} />
    <//>
    <${BySteps} get=${get} revision=${summary.revision} />
    <${Calls} get=${get} revision=${summary.revision} place=${place} go=${go} />`;
}

function Budget({ summary }) {
  const limits = Object.entries(summary.budget || {});
  return limits.map(([name, most]) => {
    const used = summary.price[name] || 0;
    const words = name === "cost" ? `${dollars(used)} of ${dollars(most)}`
      : `${count(used)} of ${count(most)} ${name}`;
    return html`<div class="budget" key=${name}><span>session budget: ${words}</span>
      <meter min="0" max=${most} value=${used} aria-label=${`budget of ${name}`}></meter></div>`;
  });
}

function BySteps({ get, revision }) {
  const state = useAnswer(() => get("cost", {}), [revision]);
  const [ref, width] = useWidth(640);
  const found = state.answer;
  const many = found && found.n.length > 0;
  return html`<div ref=${ref}>${many && html`<${Section} title="Calls by step" id="bystep-head">
    <${Bars} found=${found} width=${width} />
    <p class="quiet">Each bar counts what was asked since the step before; readings of a split
      between two steps stand with the later one${found.calls[found.n.length] > 0
    ? `, and ${plural(found.calls[found.n.length], "call")} came after the last step` : ""}.</p>
  <//>`}</div>`;
}

function Bars({ found, width }) {
  const height = 96;
  const n = found.n.length;
  const groups = Math.min(n, Math.floor(width / 4));
  const sums = Array.from({ length: groups }, () => 0);
  found.n.forEach((_, i) => { sums[Math.floor((i * groups) / n)] += found.calls[i]; });
  const most = Math.max(...sums, 1);
  const wide = Math.min(48, width / groups);
  const bar = (value, i) => `M${(i * wide + 1).toFixed(1)} ${height}V${
    (height - (value / most) * (height - 18)).toFixed(1)}h${Math.max(1, wide - 3).toFixed(1)}V${height}Z`;
  const named = groups === n && wide >= 26;
  return html`<svg class="costs" width=${width} height=${height + 20} role="img"
    aria-label=${`Calls by step; the most in one place is ${count(most)}`}>
    <path d=${sums.map(bar).join("")} />
    ${named && sums.map((value, i) => html`<g key=${i}><text class="tick" text-anchor="middle"
      x=${i * wide + wide / 2} y=${height + 15}>s${found.n[i]}</text><text class="tick"
      text-anchor="middle" x=${i * wide + wide / 2}
      y=${height - (value / most) * (height - 18) - 5}>${short(value)}</text></g>`)}</svg>`;
}

function Calls({ get, revision, place, go }) {
  const [before, setBefore] = useState(null);
  const args = before ? { before } : {};
  const state = useAnswer(() => get("calls", args), [before, revision]);
  const found = state.answer ? state.answer.calls : [];
  const last = found.length ? Number(found[found.length - 1].id.slice(1)) : 0;
  return html`<${Section} title="Calls" id="calls-head" aside=${html`<span class="pair">
      ${before && html`<button type="button" class="soft" onClick=${() => setBefore(null)}>
        newest</button>`}
      ${last > 1 && found.length >= 100 && html`<button type="button" class="soft"
        onClick=${() => setBefore(last)}>older</button>`}</span>`}>
    ${place.call && html`<${Call} get=${get} id=${place.call} go=${go} />`}
    ${state.answer ? html`<ul class="calls">${found.map((one) => html`<li key=${one.id}>
      <button type="button" onClick=${() => go({ call: one.id === place.call ? null : one.id })}
        aria-expanded=${one.id === place.call ? "true" : "false"}>
        <span class="id">${one.id}</span> <span>${one.purpose}</span>
        <span class="quiet clamp"><${Said} text=${one.about} /></span>
        <span class="quiet">${one.status === "answered" ? "" : one.status}</span></button></li>`)}
      </ul>` : html`<${Waiting} state=${state} />`}
  <//>`;
}

function Call({ get, id, go }) {
  const state = useAnswer(() => get("call", { id }), [id]);
  const one = state.answer;
  if (!one) return html`<div class="sheet"><${Waiting} state=${state} /></div>`;
  const figures = [one.model, one.answerer, one.prompt_tokens && `${count(one.prompt_tokens)} + ${
    count(one.completion_tokens)} tokens`, one.latency > 0 && `${one.latency.toFixed(1)} s`,
  when(one.created)].filter(Boolean);
  return html`<div class="sheet"><div class="sheethead"><span>${id}, ${one.purpose}</span>
      <span class="quiet"><${Said} text=${figures.join(" · ")} /></span>
      <button type="button" class="soft" onClick=${() => go({ call: null })}>Close</button></div>
    ${messages(one.request).map((m, n) => html`<div key=${n}><h4>${m.role}</h4>
      <pre><${Said} text=${m.content} /></pre></div>`)}
    ${one.text !== undefined && html`<h4>reply</h4><pre><${Said} text=${one.text} /></pre>`}
    ${one.refusal && html`<p class="error"><${Said} text=${one.refusal} /></p>`}
    ${(one.attempts || []).length > 1 && html`<p class="quiet">${plural(one.attempts.length,
    "attempt")}: <${Said} text=${one.attempts.map((a) => a.outcome).join(", ")} /></p>`}</div>`;
}

/** The messages of a request; as it stands where it was cut. */
function messages(request) {
  try {
    return JSON.parse(request).messages;
  } catch {
    return [{ role: "request", content: request || "" }];
  }
}
