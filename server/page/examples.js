// Each example under two sets of texts: what got better, and above all what got worse.

import { html, useState } from "./preact.js";
import { Choice, Diff, Move, Pick, Said, Section, Waiting, useAnswer } from "./parts.js";
import { List, usePages } from "./table.js";
import { count, named, score, signed } from "./words.js";

const PAGE = 100;

/** Which comparison is meant, where the reader has not chosen one. */
export function chosen(summary, place) {
  const losses = summary.losses;
  const last = summary.readings[summary.readings.length - 1];
  const loss = losses.find((one) => one.id === place.loss)
    || losses.find((one) => last && one.id === last.loss) || losses[losses.length - 1];
  const splits = ["validation", "train", "test"].filter((name) => summary.examples[name]
    && (name !== "test" || summary.held_out));
  const states = summary.states;
  const state = (key, other) => states[Number.isInteger(place[key]) && states[place[key]]
    ? place[key] : other];
  return {
    loss,
    splits,
    split: splits.includes(place.split) ? place.split : splits[0] || "validation",
    a: state("a", 0),
    b: state("b", states.length - 1),
  };
}

/** What stands under the tab of that name. */
export function Examples({ summary, get, place, go, print, width, way }) {
  const { loss, splits, split, a, b } = chosen(summary, place);
  if (!loss) return html`<p class="quiet">There is no loss yet, so nothing was scored.</p>`;
  if (!a) return html`<p class="quiet">There is no text yet.</p>`;
  const index = (one) => summary.states.indexOf(one);
  const states = summary.states.map((one, n) => [n, `${one.label} · ${named(one.versions)}`]);
  const kind = place.filter || "all";
  return html`<${Section} title="Before and after" id="examples-head">
    <div class="tools">
      <${Pick} label="before" value=${index(a)} options=${states}
        onChange=${(n) => go({ a: Number(n) })} />
      <${Pick} label="after" value=${index(b)} options=${states}
        onChange=${(n) => go({ b: Number(n) })} />
      ${splits.length > 1 && html`<${Pick} label="split" value=${split}
        options=${splits.map((name) => [name, name])}
        onChange=${(name) => go({ split: name, example: null })} />`}
      ${summary.losses.length > 1 && html`<${Pick} label="loss" value=${loss.id}
        options=${summary.losses.map((one) => [one.id, `${one.id} ${one.name}`])}
        onChange=${(id) => go({ loss: id })} />`}
    </div>
    <${Rows} get=${get} asked=${{ loss: loss.id, split, a: a.versions, b: b.versions }} kind=${kind}
      revision=${summary.revision} place=${place} go=${go} print=${print} width=${width}
      right=${summary.references} />
    ${summary.examples.test > 0 && !summary.held_out && html`<p class="quiet">Rows of the test split
      are not shown: whoever reads them and changes the text afterwards has no held-out figure any
      more.${way === "viewer" ? " --with-test shows them." : ""}</p>`}
  <//>`;
}

function Rows({ get, asked, kind, revision, place, go, print, width, right }) {
  const keys = [asked, kind, revision];
  const pages = usePages(
    (offset, limit) => get("rows", { ...asked, filter: kind, offset, limit }),
    PAGE,
    keys,
  );
  const { first, row, error } = pages;
  const [at, setAt] = useState(null);
  if (error) return html`<${Waiting} state=${{ error }} />`;
  if (!first) return html`<${Waiting} state=${{}} />`;
  const counts = first.counts;
  const narrow = width < 640;
  const open = place.example;
  const select = (n, walked) => {
    const one = row(n);
    setAt(n);
    if (one) go({ example: one.id === open && !walked ? null : one.id });
  };
  const options = [["all", "all", count(counts.all)], ["worse", "worse", count(counts.worse)],
    ["better", "better", count(counts.better)], ["same", "same", count(counts.same)]];
  const current = at !== null && row(at) && row(at).id === open ? at : found(row, first, open);
  return html`
    <${Choice} label="Which examples" value=${kind}
      options=${first.counted ? options : options.slice(0, 1)}
      onChange=${(filter) => { setAt(null); go({ filter, example: null }); }} />
    ${!first.counted && html`<p class="quiet">The scores of all examples under both texts are not
      known, so they cannot be sorted by what became of them.</p>`}
    ${first.total === 0 ? html`<p class="quiet">None.</p>` : html`<${List} count=${first.total}
      height=${narrow ? 96 : 58} label="Examples" chosen=${current} onChoose=${select}
      print=${print}
      head=${!narrow && html`<span>id</span><span>example</span><span>expected</span><span>before</span>
        <span>after</span><span class="num">score</span>`}
      row=${(n) => html`<${Row} one=${row(n)} narrow=${narrow} right=${right} />`} />`}
    ${open && !print && html`<${Example} get=${get} id=${open} asked=${asked} go=${go} />`}`;
}

/** Where the open example stands on the first page, if it does. */
function found(row, first, id) {
  const n = first.rows.findIndex((one) => one.id === id);
  return n < 0 ? null : n;
}

function Row({ one, narrow, right }) {
  if (!one) return html`<span class="quiet">…</span>`;
  const part = (wanted) => Object.entries(one.fields)
    .filter(([name]) => right.includes(name) === wanted).map(([, text]) => text).join(" · ");
  const fields = part(false);
  const expected = part(true);
  const before = one.a.missing ? "–" : one.a.output;
  const after = one.b.missing ? "–" : one.b.output;
  const words = `${score(one.a.score)} → ${score(one.b.score)}`;
  const move = html`<${Move} before=${one.a.score} after=${one.b.score} words=${words} />`;
  if (narrow) {
    return html`<span class="two"><span><span class="id">${one.id}</span> ${move}</span>
      <span class="clamp"><${Said} text=${fields} /></span>
      <span class="quiet clamp">${expected && html`(<${Said} text=${expected} />) `}<${Said}
        text=${before} /> → <${Said} text=${after} /></span></span>`;
  }
  return html`<span class="cells examples"><span class="id">${one.id}</span>
    <span class="clamp"><${Said} text=${fields} /></span>
    <span class="clamp quiet"><${Said} text=${expected} /></span>
    <span class="clamp quiet"><${Said} text=${before} /></span>
    <span class="clamp"><${Said} text=${after} /></span><span class="num">${move}</span></span>`;
}

function Example({ get, id, asked, go }) {
  const args = { id, loss: asked.loss, a: asked.a, b: asked.b };
  const state = useAnswer(() => get("example", args), [JSON.stringify(args)]);
  const one = state.answer;
  if (!one) return html`<section class="detail"><${Waiting} state=${state} /></section>`;
  const change = one.a.score === null || one.b.score === null ? null : one.b.score - one.a.score;
  const verb = change === null ? "" : change > 0 ? "got better" : change < 0 ? "got worse"
    : "did not change";
  const title = html`Example ${id} <${Move} before=${one.a.score} after=${one.b.score} words=${verb} />`;
  return html`<${Section} title=${title} id="example-head" aside=${html`<button type="button"
      class="soft" onClick=${() => go({ example: null })}>Close</button>`}>
    <dl class="fields">${Object.entries(one.fields).map(([name, text]) => html`<div key=${name}>
      <dt><${Said} text=${name} /></dt><dd><${Field} text=${text} /></dd></div>`)}</dl>
    <div class="sides">
      <${Side} title=${`before, ${named(asked.a)}`} side=${one.a} go=${go} />
      <${Side} title=${`after, ${named(asked.b)}`} side=${one.b} old=${one.a} go=${go} />
    </div>
    ${change !== null && html`<p class="quiet">${score(one.a.score)} → ${score(one.b.score)}
      ${" "}(${signed(change)})</p>`}
  <//>`;
}

const PICTURE = /^data:image\/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$/;

function Field({ text }) {
  if (PICTURE.test(text)) return html`<img src=${text} alt="the example's image" />`;
  return html`<${Said} text=${text} block=${true} />`;
}

function Side({ title, side, old, go }) {
  const outputs = Object.entries(side.outputs);
  return html`<div class="side"><h3>${title} <span class="score">${score(side.score)}</span></h3>
    ${outputs.map(([name, text]) => html`<div key=${name}>
      ${outputs.length > 1 && html`<p class="quiet"><${Said} text=${name} /></p>`}
      <div class="output">${old && old.outputs[name] !== undefined && old.outputs[name] !== text
    ? html`<${Diff} old=${old.outputs[name]} text=${text} />`
    : html`<${Said} text=${text} block=${true} />`}</div></div>`)}
    ${side.missing && html`<p class="quiet"><${Said} text=${side.missing} /></p>`}
    ${side.feedback && html`<p class="kicker">what the loss says</p>
      <blockquote><${Said} text=${side.feedback} block=${true} /></blockquote>`}
    ${side.calls.length > 0 && html`<p class="quiet">calls ${side.calls.map((id) => html`
      <button type="button" class="link" key=${id} onClick=${() => go({ tab: "cost", call: id })}>
      ${id}</button> `)}</p>`}</div>`;
}
