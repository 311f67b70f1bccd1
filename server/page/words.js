// Figures, times and texts as a person reads them.

/** A score: two decimals, or enough to show that a small one is not 0. */
export function score(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size !== 0 && size < 0.01 ? Number(value.toPrecision(1)).toString() : value.toFixed(2);
}

/** A change with its sign. */
export function signed(value) {
  if (value === null || value === undefined) return "–";
  const words = score(Math.abs(value));
  return Number(words) === 0 ? "±0.00" : (value > 0 ? "+" : "−") + words;
}

/** A gain with its standard error. */
export function gain(value, error) {
  const words = signed(value);
  return error === null || error === undefined ? words : `${words} ± ${score(error)}`;
}

/** Words in which a figure and its error stay on one line. */
export function unbroken(words) {
  return words.replace(/ ± /g, "\u00a0±\u00a0");
}

/** A chance. */
export function chance(p) {
  if (p === null || p === undefined) return "–";
  return p > 0.9995 ? "1" : p >= 0.001 ? p.toFixed(3) : Number(p.toPrecision(1)).toString();
}

/** A count, with thin spaces between thousands. */
export function count(n) {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

/** A count, short. */
export function short(n) {
  if (n < 10000) return count(n);
  return n < 1e6 ? `${Math.round(n / 1000)}k` : `${(n / 1e6).toFixed(1)}M`;
}

/** Dollars. */
export function dollars(n) {
  return n >= 100 ? `$${count(n)}` : n >= 0.1 || n === 0 ? `$${n.toFixed(2)}` : `$${n.toPrecision(2)}`;
}

/** `1 step`, `2 steps`. */
export function plural(n, word) {
  return `${count(n)} ${word}${n === 1 ? "" : "s"}`;
}

/** How long ago a time was. */
export function ago(iso, now = Date.now()) {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  if (!(seconds >= 0)) return "";
  if (seconds < 60) return "just now";
  for (const [size, word] of [[60, "minute"], [3600, "hour"], [86400, "day"]]) {
    const n = Math.floor(seconds / size);
    if (n < (word === "minute" ? 60 : word === "hour" ? 24 : 30)) return `${plural(n, word)} ago`;
  }
  return `on ${iso.slice(0, 10)}`;
}

/** A time to the minute, as the reader's clock has it. */
export function when(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const two = (n) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `
    + `${two(date.getHours())}:${two(date.getMinutes())}`;
}

const UNSEEN = /[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/;
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;

/** Whether a text holds what a reader cannot see: controls, reversed direction, zero widths. */
export function hides(text) {
  return UNSEEN.test(text) || CONTROL.test(text.replace(/\r\n/g, "\n"));
}

/** A text whose invisible characters can be seen. */
export function visible(text) {
  if (!hides(text)) return text;
  return Array.from(text.replace(/\r\n/g, "\n"), (c) => {
    const code = c.codePointAt(0);
    if (CONTROL.test(c)) return String.fromCodePoint(code < 32 ? 0x2400 + code : 0x2421);
    return UNSEEN.test(c) ? `\u2039U+${code.toString(16).toUpperCase().padStart(4, "0")}\u203a` : c;
  }).join("");
}

/** `1 - 2` names of versions: v1@3. */
export function named(versions) {
  return Object.entries(versions || {}).map(([v, n]) => `${v}@${n}`).join(" ");
}
