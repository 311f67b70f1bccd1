// A long list of which only what is seen is drawn.

import { html, useEffect, useRef, useState } from "./preact.js";

const SEEN = 9; // rows that the box shows at once
const MORE = 4;
const TALLEST = 12000000; // pixels; browsers end beyond that

/** Rows of one height: `row(n)` draws the inside, `chosen` is the one that is open.

Each row is a button; j and k, or the arrow keys, walk. In print, the first rows are drawn plainly.
*/
export function List({ count, height, row, chosen, onChoose, label, head, print }) {
  const box = useRef(null);
  const [top, setTop] = useState(0);
  const shown = Math.min(count, Math.floor(TALLEST / height));
  const first = print ? 0 : Math.max(0, Math.floor(top / height) - MORE);
  const last = print ? Math.min(shown, 100) : Math.min(shown, first + SEEN + 2 * MORE);
  const walk = (event) => {
    const by = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || event.target.tagName === "SELECT" || event.target.tagName === "INPUT") return;
    event.preventDefault();
    const to = Math.max(0, Math.min(shown - 1, (chosen ?? -1) + by));
    onChoose(to, true);
  };
  useEffect(() => {
    if (chosen === null || chosen === undefined || chosen < 0 || !box.current || print) return;
    const at = chosen * height;
    const { scrollTop, clientHeight } = box.current;
    if (at < scrollTop) box.current.scrollTop = at;
    else if (at + height > scrollTop + clientHeight) {
      box.current.scrollTop = at + height - clientHeight;
    }
    const focused = document.activeElement;
    if (box.current.contains(focused)) {
      const button = box.current.querySelector(`[data-n="${chosen}"]`);
      if (button && button !== focused) button.focus({ preventScroll: true });
    }
  }, [chosen, height]);
  const rows = [];
  for (let n = first; n < last; n++) {
    rows.push(html`<li key=${n} aria-setsize=${shown} aria-posinset=${n + 1}
      style=${print ? "" : `top:${n * height}px;height:${height}px`}>
      <button type="button" class="row" data-n=${n} aria-expanded=${n === chosen ? "true" : "false"}
        onClick=${() => onChoose(n)}>${row(n)}</button></li>`);
  }
  const tall = Math.min(shown, SEEN) * height;
  return html`<div class=${`list${print ? " plain" : shown > SEEN ? " long" : ""}`}>
    ${head && html`<div class="listhead" aria-hidden="true">${head}</div>`}
    <div class="box" ref=${box} style=${print ? "" : `height:${tall}px`} onKeyDown=${walk}
      onScroll=${(event) => setTop(event.currentTarget.scrollTop)}>
      <ul aria-label=${label} style=${print ? "" : `height:${shown * height}px`}>${rows}</ul>
    </div>
    ${count > last && print && html`<p class="quiet">${count - last} more are not printed.</p>`}
  </div>`;
}

/** Rows of a long list that come in pages: gives `[total, row(n), answer]`, null while it comes. */
export function usePages(get, size, keys) {
  const [, redraw] = useState(0);
  const held = useRef(null);
  const mark = JSON.stringify(keys);
  if (!held.current || held.current.mark !== mark) {
    held.current = { mark, pages: new Map(), asked: new Set(), first: null, error: null };
  }
  const mine = held.current;
  const ask = (page) => {
    if (mine.asked.has(page)) return;
    mine.asked.add(page);
    get(page * size, size).then((answer) => {
      mine.pages.set(page, answer.rows);
      mine.first ||= answer;
      if (mine.pages.size > 40) mine.pages.delete(mine.pages.keys().next().value);
      if (held.current === mine) redraw((n) => n + 1);
    }, (error) => {
      mine.error = error.message || String(error);
      if (held.current === mine) redraw((n) => n + 1);
    });
  };
  useEffect(() => ask(0), [mark]);
  const row = (n) => {
    const page = Math.floor(n / size);
    const rows = mine.pages.get(page);
    if (!rows) {
      if (!mine.pages.has(page)) setTimeout(() => ask(page), 0);
      return null;
    }
    return rows[n % size];
  };
  return { first: mine.first, row, error: mine.error };
}
