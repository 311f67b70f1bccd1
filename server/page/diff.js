// What changed between two texts, by words; by lines, or as a whole, where that would take long.

const EDITS = 400; // so many insertions and deletions at most are looked for

/** Pieces of a text that are compared: words, spaces, single marks; or lines. */
export function pieces(text, by) {
  return by === "lines"
    ? text.split(/(?<=\n)/)
    : text.match(/[\p{L}\p{N}_]+|\n|[^\S\n]+|[^\p{L}\p{N}_\s]/gu) || [];
}

/** `[kind, text]` pairs: 0 in both, -1 only in `a`, 1 only in `b`; they rejoin to either text. */
export function diff(a, b, by = "words") {
  if (a === b) return a ? [[0, a]] : [];
  const found = myers(pieces(a, by), pieces(b, by));
  if (found) return joined(found);
  if (by === "words") return diff(a, b, "lines");
  return [[-1, a], [1, b]].filter((one) => one[1]);
}

function myers(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start
    && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const x = a.slice(start, a.length - end);
  const y = b.slice(start, b.length - end);
  const middle = shortest(x, y);
  if (!middle) return null;
  const same = (list) => list.map((piece) => [0, piece]);
  return [...same(a.slice(0, start)), ...middle, ...same(a.slice(a.length - end))];
}

/** The shortest edit script (Myers 1986), or null beyond EDITS. */
function shortest(a, b) {
  const most = Math.min(a.length + b.length, EDITS);
  const size = 2 * most + 2;
  const reach = new Int32Array(size);
  const trail = [];
  for (let d = 0; d <= most; d++) {
    trail.push(reach.slice(most - d > 0 ? most - d - 1 : 0, most + d + 2));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && reach[most + k - 1] < reach[most + k + 1]);
      let x = down ? reach[most + k + 1] : reach[most + k - 1] + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      reach[most + k] = x;
      if (x >= a.length && x - k >= b.length) return walked(a, b, trail, d, most);
    }
  }
  return null;
}

function walked(a, b, trail, last, most) {
  const out = [];
  let x = a.length;
  let y = b.length;
  for (let d = last; d >= 0 && (x > 0 || y > 0); d--) {
    const low = most - d > 0 ? most - d - 1 : 0;
    const at = (k) => trail[d][most + k - low];
    const k = x - y;
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1));
    const before = d === 0 ? 0 : down ? at(k + 1) : at(k - 1);
    const beforeY = d === 0 ? 0 : before - (down ? k + 1 : k - 1);
    while (x > before && y > beforeY) {
      out.push([0, a[--x]]);
      y--;
    }
    if (d === 0) break;
    out.push(down ? [1, b[--y]] : [-1, a[--x]]);
  }
  return out.reverse();
}

/** Neighbours of one kind as one; of a change what went stands before what came. */
function joined(script) {
  const out = [];
  let gone = "";
  let come = "";
  const flush = () => {
    if (gone) out.push([-1, gone]);
    if (come) out.push([1, come]);
    gone = come = "";
  };
  for (const [kind, piece] of script) {
    if (kind < 0) gone += piece;
    else if (kind > 0) come += piece;
    else {
      flush();
      const top = out[out.length - 1];
      if (top && top[0] === 0) top[1] += piece;
      else out.push([0, piece]);
    }
  }
  flush();
  return out;
}
