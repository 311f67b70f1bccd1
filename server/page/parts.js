// The small parts that every view is made of.

import { html, useState, useEffect, useRef } from "./preact.js";
import { diff } from "./diff.js";
import { hides, visible } from "./words.js";

const FOLD = 7; // of so many unchanged lines and more, only the ends are shown
const KEPT = 2;

/** A text that somebody wrote: only ever a text node, kept apart from what is around it. */
export function Said({ text, block }) {
  const words = text === undefined || text === null ? "" : String(text);
  const chip = hides(words) && html`<span class="chip warn">contains invisible characters</span>`;
  return html`<bdi class=${block ? "said block" : "said"}>${visible(words)}${chip}</bdi>`;
}

/** What changed from `old` to `text`, by words. */
export function Diff({ old, text, by }) {
  const script = diff(old, text, by);
  if (!script.some(([kind]) => kind)) {
    return html`<div class="diff"><${Said} text=${text} /><p class="quiet">No change.</p></div>`;
  }
  const parts = script.map(([kind, words], n) => kind === 0
    ? html`<${Same} words=${words} first=${n === 0} last=${n === script.length - 1} />`
    : kind < 0 ? html`<del>${visible(words)}</del>` : html`<ins>${visible(words)}</ins>`);
  const chip = hides(old + text)
    && html`<p><span class="chip warn">contains invisible characters</span></p>`;
  return html`<div class="diff"><bdi>${parts}</bdi>${chip}</div>`;
}

/** What both texts have: long stretches can be folded. */
function Same({ words, first, last }) {
  const [open, setOpen] = useState(false);
  const lines = words.split("\n");
  if (open || lines.length < FOLD) return html`<span>${visible(words)}</span>`;
  const head = first ? [] : lines.slice(0, KEPT);
  const tail = last ? [] : lines.slice(-KEPT);
  const hidden = lines.length - head.length - tail.length;
  return html`<span>${visible(head.join("\n"))}</span><button type="button" class="fold"
    onClick=${() => setOpen(true)}>${hidden} unchanged lines</button><span>${
    visible(tail.join("\n"))}</span>`;
}

/** Accepted or refused, by form and word, never by colour alone. */
export function Verdict({ accepted, children }) {
  return html`<span class=${accepted ? "verdict yes" : "verdict no"}>
    <i aria-hidden="true"></i>${children || (accepted ? "accepted" : "refused")}</span>`;
}

/** A score before and after, with the direction it went. */
export function Move({ before, after, words }) {
  const kind = before === null || after === null || before === undefined || after === undefined
    ? "" : after > before ? "up" : after < before ? "down" : "";
  return html`<span class=${`move ${kind}`}>${words}</span>`;
}

/** A heading with what belongs beside it. */
export function Section({ title, aside, children, id }) {
  return html`<section aria-labelledby=${id}>
    <div class="head"><h2 id=${id}>${title}</h2>${aside && html`<div class="aside">${aside}</div>`}
    </div>${children}</section>`;
}

/** One choice of a few, all of them seen. `options` are [value, words, count]. */
export function Choice({ label, value, options, onChange }) {
  return html`<div class="choice" role="group" aria-label=${label}>
    ${options.map(([key, words, n]) => html`<button type="button" key=${key}
      aria-pressed=${key === value ? "true" : "false"} onClick=${() => onChange(key)}>
      ${words}${n !== undefined && html` <span class="n">${n}</span>`}</button>`)}</div>`;
}

/** One choice of many. `options` are [value, words]. */
export function Pick({ label, value, options, onChange }) {
  return html`<label class="pick"><span>${label}</span>
    <select value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      ${options.map(([key, words]) => html`<option key=${key} value=${key}
        selected=${String(key) === String(value)}>${words}</option>`)}
    </select></label>`;
}

/** What comes from `get`, asked for again when one of `keys` changes; the last stays meanwhile. */
export function useAnswer(get, keys) {
  const [state, setState] = useState({ answer: null, error: null, busy: true });
  const turn = useRef(0);
  useEffect(() => {
    const mine = ++turn.current;
    setState((s) => ({ ...s, busy: true }));
    get().then(
      (answer) => mine === turn.current && setState({ answer, error: null, busy: false }),
      (error) => mine === turn.current
        && setState({ answer: null, error: error.message || String(error), busy: false }),
    );
    return () => { turn.current++; };
  }, keys);
  return state;
}

/** What a view shows while there is nothing, or an error. */
export function Waiting({ state }) {
  if (state.error) return html`<p class="error" role="alert"><${Said} text=${state.error} /></p>`;
  return html`<p class="quiet busy">Reading …</p>`;
}

/** How wide an element is, in pixels, kept up to date. */
export function useWidth(initial) {
  const ref = useRef(null);
  const [width, setWidth] = useState(initial);
  useEffect(() => {
    const look = () => ref.current && setWidth(Math.round(ref.current.clientWidth));
    const watch = new ResizeObserver(look);
    watch.observe(ref.current);
    look();
    return () => watch.disconnect();
  }, []);
  return [ref, width];
}

/** A button that copies words, and says so. */
export function Copy({ text, children }) {
  const [done, setDone] = useState("");
  const copy = () => copied(text).then(
    () => setDone("Copied"),
    () => setDone("Select and copy it by hand"),
  );
  return html`<button type="button" class="soft" onClick=${copy}>${children}</button>
    <span class="quiet" role="status">${done}</span>`;
}

/** Puts words on the clipboard, in frames without that right by the old way. */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch (error) {
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (!done) throw error;
  }
}
