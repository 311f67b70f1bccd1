// The viewer's first page: all sessions, and some of them side by side.

import { html, useState } from "./preact.js";
import { Diff, Said, Section, Waiting, useAnswer } from "./parts.js";
import { ago, count, dollars, gain, plural, score, short } from "./words.js";

const MOST = 4;

/** The list. */
export function Sessions({ get, open, compare }) {
  const [offset, setOffset] = useState(0);
  const [words, setWords] = useState("");
  const [ticked, setTicked] = useState([]);
  const state = useAnswer(() => get("sessions", { offset }), [offset]);
  if (!state.answer) return html`<${Waiting} state=${state} />`;
  const found = state.answer.sessions.filter((one) => `${one.title} ${one.session_id}`.toLowerCase()
    .includes(words.toLowerCase()));
  const tick = (id) => setTicked((now) => now.includes(id) ? now.filter((x) => x !== id)
    : [...now, id].slice(-MOST));
  return html`<${Section} title=${`${plural(state.answer.total, "session")}`} id="sessions-head"
    aside=${html`<label class="pick"><span>find</span><input type="search" id="find" value=${words}
      onInput=${(event) => setWords(event.currentTarget.value)} /></label>
      <button type="button" class="soft" disabled=${ticked.length < 2}
        onClick=${() => compare(ticked)}>Compare ${ticked.length || ""}</button>`}>
    ${found.length === 0 && html`<p class="quiet">None.</p>`}
    <ul class="sessions">${found.map((one) => html`<li key=${one.session_id}>
      <input type="checkbox" aria-label=${`Compare ${one.title || one.session_id}`}
        checked=${ticked.includes(one.session_id)} onChange=${() => tick(one.session_id)} />
      <button type="button" onClick=${() => open(one.session_id)}>
        <span class="title"><${Said} text=${one.title || "untitled"} /></span>
        <span class="quiet">${ago(one.updated)} · ${one.steps} steps, ${one.accepted} accepted ·
          ${" "}${short(one.calls)} calls${one.cost ? ` · ${dollars(one.cost)}` : ""}</span>
        <span class="scores">${one.score && html`<span class="quiet">${one.score.split}</span>
          ${" "}${score(one.score.first)} → <b>${score(one.score.latest)}</b>`}</span>
      </button></li>`)}</ul>
    <span class="pair">${offset > 0 && html`<button type="button" class="soft"
        onClick=${() => setOffset(Math.max(0, offset - 100))}>newer</button>`}
      ${offset + 100 < state.answer.total && html`<button type="button" class="soft"
        onClick=${() => setOffset(offset + 100)}>older</button>`}</span>
  <//>`;
}

/** Sessions side by side; the leftmost is the one the others are held against. */
export function Compare({ get, ids, open }) {
  const state = useAnswer(() => get("compare", { ids }), [ids.join()]);
  if (!state.answer) return html`<${Waiting} state=${state} />`;
  const all = state.answer.sessions;
  const splits = ["test", "validation", "train"].filter((split) => all.some((one) => one.scores
    .some((s) => s.split === split)));
  return html`<${Section} title="Side by side" id="compare-head">
    <${Doubts} all=${all} matched=${state.answer.matched} />
    <div class="scroll" tabindex="0" role="group" aria-label="Sessions side by side"><table>
      <thead><tr><td></td>${all.map((one) => html`<th scope="col" key=${one.session_id}>
        <button type="button" class="link" onClick=${() => open(one.session_id)}>
        <${Said} text=${one.title || "untitled"} /></button></th>`)}</tr></thead>
      <tbody>${splits.map((split) => html`<tr key=${split}><th scope="row">${split}</th>
          ${all.map((one) => html`<td key=${one.session_id}><${Scores}
            found=${one.scores.find((s) => s.split === split)} /></td>`)}</tr>
        <${Matched} split=${split} found=${state.answer.matched[split]} all=${all} />`)}
        <tr><th scope="row">steps</th>${all.map((one) => html`<td key=${one.session_id}>
          ${one.accepted} of ${one.steps} accepted</td>`)}</tr>
        <tr><th scope="row">calls</th>${all.map((one) => html`<td key=${one.session_id}>
          ${short(one.price.calls)}${one.price.cost ? `, ${dollars(one.price.cost)}` : ""}</td>`)}
        </tr></tbody></table></div>
    ${all[0].texts.map((text, n) => html`<div key=${text.id}>
      <h3><${Said} text=${text.role} /></h3><div class="sides">
      ${all.map((one) => one.texts[n] && html`<div class="side output" key=${one.session_id}>
        <${Diff} old=${text.text} text=${one.texts[n].text} /></div>`)}</div></div>`)}
  <//>`;
}

/** The latest scores on the examples that all of them have and scored. */
function Matched({ split, found, all }) {
  if (!found.examples) return null;
  return html`<tr key=${`${split} matched`}><th scope="row">${split}, on the
    ${" "}${count(found.examples)} that all have</th>
    ${found.sides.map((side, n) => html`<td key=${all[n].session_id}><b>${score(side.mean)}</b>
      ${n > 0 && html`<span class="quiet"> ${gain(side.gain, side.error)}, ${side.better} better,
        ${" "}${side.worse} worse than the first</span>`}</td>`)}</tr>`;
}

function Scores({ found }) {
  if (!found) return html`<span class="quiet">not measured</span>`;
  return html`${score(found.first.mean)} → <b>${score(found.latest.mean)}</b>
    ${found.gain !== null && html`<span class="quiet"> ${gain(found.gain, found.error)},
      ${" "}${found.latest.examples} examples</span>`}`;
}

/** What keeps the figures from being compared, said before they are. */
function Doubts({ all, matched }) {
  const said = ["test", "validation"].map((split) => {
    const sizes = all.map((one) => one.examples[split] || 0);
    const { shared } = matched[split];
    if (Math.max(...sizes) === 0) return "";
    if (shared === Math.max(...sizes)) return `The ${split} examples are the same.`;
    return `Of the ${split} examples (${sizes.join(", ")}) ${shared} are in all of them. The scores `
      + "of each are over all of its own, so they are of different data; "
      + (matched[split].examples ? "those on the shared ones stand apart." : "none was scored in all.");
  }).filter(Boolean);
  return said.map((words) => html`<p class="note" key=${words}>${words}</p>`);
}
