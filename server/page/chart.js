// Scores over steps: the installed text's line, what was refused, errors, and held-out readings.

import { html, useState } from "./preact.js";
import { useWidth } from "./parts.js";
import { gain, plural, score } from "./words.js";

const HEIGHT = 264;
const TOP = 22;
const BOTTOM = 34;
const LEFT = 40;
const RIGHT = 62;
const BESIDE = 10; // a reading stands beside the step it was made after, not on its mark
const FEW = 200; // with more steps, dots are smaller and only the chosen one has its error

/** The steps that are drawn: of many in one place, the accepted ones and the extremes. */
export function thinned(steps, x, gap) {
  const count = steps.n.length;
  if (count * gap <= x(count - 1) - x(0) || count <= FEW) return [...steps.n.keys()];
  const buckets = new Map();
  for (let i = 0; i < count; i++) {
    const value = steps.after[i];
    if (value === null) continue;
    const key = `${Math.round(x(i) / gap)} ${steps.accepted[i]}`;
    const one = buckets.get(key);
    if (!one) buckets.set(key, [i, i]);
    else if (value > steps.after[one[1]]) one[1] = i;
    else if (value < steps.after[one[0]]) one[0] = i;
  }
  return [...new Set([...buckets.values()].flat())].sort((a, b) => a - b);
}

/** The score of the installed text: at the start, and after each step. */
export function installed(steps) {
  let now = steps.before.find((value) => value !== null);
  if (now === undefined) now = null;
  const line = [now];
  for (let i = 0; i < steps.n.length; i++) {
    if (steps.accepted[i] && steps.after[i] !== null) now = steps.after[i];
    else if (steps.before[i] !== null) now = steps.before[i];
    line.push(now);
  }
  return line;
}

/** What a step did, in words. */
export function told(steps, i) {
  const verdict = steps.accepted[i] ? "accepted" : "refused";
  const name = `step ${steps.n[i]}, ${verdict}`;
  if (steps.after[i] === null) return `${name}: nothing got as far as being compared`;
  const moved = `${score(steps.before[i])} to ${score(steps.after[i])}`;
  const size = steps.gain[i] === null ? "" : `, gain ${gain(steps.gain[i], steps.error[i])}`;
  return `${name}: ${moved}${size} on ${plural(steps.examples[i], "example")}`;
}

/** Least and largest value of the axis, and its ticks. */
export function axis(values) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (low >= 0 && high <= 1 && high - low > 0.3) return [0, 1, [0, 0.25, 0.5, 0.75, 1]];
  const room = Math.max((high - low) * 0.2, 0.02);
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 50, 100]
    .find((one) => (high - low + 2 * room) / one <= 6) || (high - low) / 4;
  const from = Math.floor((low - room) / step) * step;
  const to = Math.ceil((high + room) / step) * step;
  const ticks = [];
  for (let n = 0; from + n * step <= to + 1e-9; n++) ticks.push(+(from + n * step).toFixed(6));
  return [from, to, ticks];
}

const circle = (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
const cross = (x, y, r) => `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
const diamond = (x, y, r) => `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z`;

/** The chart. `step` is the number of the chosen step, `onStep` chooses another. */
export function ScoreChart({ steps, readings, step, onStep }) {
  const [ref, width] = useWidth(640);
  const [near, setNear] = useState(null);
  const count = steps.n.length;
  const right = width < 480 ? 54 : RIGHT;
  const x = (i) => LEFT + ((i + 1) / Math.max(count, 1)) * (width - LEFT - right);
  const line = installed(steps);
  const tests = readings.filter((one) => one.split === "test");
  const values = [...line, ...steps.after, ...tests.map((one) => one.mean)]
    .filter((value) => value !== null && value !== undefined);
  if (!values.length) {
    return html`<div ref=${ref}><p class="quiet">No step was compared by a score yet.</p></div>`;
  }
  const [low, high, ticks] = axis([Math.min(...values), Math.max(...values)]);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const chosen = steps.n.indexOf(step);
  const choose = (i) => count && onStep(steps.n[Math.max(0, Math.min(count - 1, i))]);
  const at = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const part = (event.clientX - box.left - LEFT) / (width - LEFT - right);
    return Math.max(0, Math.min(count - 1, Math.round(part * count) - 1));
  };
  const key = (event) => {
    const jump = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? count - 1
      : jump === undefined ? null : chosen + jump;
    if (to === null) return;
    event.preventDefault();
    choose(to);
  };
  const words = chosen < 0 ? "no step chosen" : told(steps, chosen);
  const shown = near ?? chosen;
  return html`<div class="chart" ref=${ref}>
    <div role="slider" tabindex="0" aria-label="Steps; arrow keys walk through them"
      aria-valuemin="1" aria-valuemax=${Math.max(count, 1)} aria-valuenow=${Math.max(chosen + 1, 1)}
      aria-valuetext=${words} onKeyDown=${key}
      onPointerMove=${(event) => count && setNear(at(event))} onPointerLeave=${() => setNear(null)}
      onClick=${(event) => count && choose(at(event))}>
      <svg width=${width} height=${HEIGHT} viewBox=${`0 0 ${width} ${HEIGHT}`} aria-hidden="true">
        ${ticks.map((tick) => html`<g key=${tick}>
          <line class="grid" x1=${LEFT} x2=${width - right + 12} y1=${y(tick)} y2=${y(tick)} />
          <text class="tick" x=${LEFT - 10} y=${y(tick) + 4} text-anchor="end">${score(tick)}</text>
        </g>`)}
        <${Below} steps=${steps} x=${x} width=${width - right} />
        ${shown >= 0 && html`<line class=${near === null ? "guide on" : "guide"} x1=${x(shown)}
          x2=${x(shown)} y1=${TOP - 6} y2=${HEIGHT - BOTTOM} />`}
        <${Marks} steps=${steps} line=${line} x=${x} y=${y} low=${low} high=${high}
          chosen=${chosen} />
        <path class="test" d=${tests.map((one) => diamond(beside(x, one), y(one.mean), 6))
    .join("")} />
        <${Ends} line=${line} tests=${tests} x=${x} y=${y} />
      </svg>
    </div>
    <p class="caption" aria-hidden="true">${shown >= 0 ? told(steps, shown) : " "}</p>
    <${Legend} tests=${tests.length} none=${steps.after.includes(null)} />
  </div>`;
}

function Below({ steps, x, width }) {
  const count = steps.n.length;
  const room = count > 999 ? 52 : 34;
  const every = Math.max(1, Math.ceil((count * room) / Math.max(width - LEFT, 1)));
  const names = [[-1, "start"]];
  for (let i = 0; i < count; i++) {
    const last = i === count - 1;
    if ((i + 1) % every === 0 ? last || count - 1 - i >= every * 0.8 : last) {
      names.push([i, `s${steps.n[i]}`]);
    }
  }
  return names.filter(([i]) => i < 0 || x(i) - x(-1) > 30).map(([i, words]) => html`
    <text key=${i} class="tick" x=${x(i)} y=${HEIGHT - 12} text-anchor="middle">${words}</text>`);
}

function Marks({ steps, line, x, y, low, high, chosen }) {
  const many = steps.n.length > FEW;
  const radius = many ? 2.5 : 5;
  let path = "";
  for (let i = 0; i < line.length; i++) {
    if (line[i] === null) continue;
    const to = `${x(i - 1).toFixed(1)} ${y(line[i]).toFixed(1)}`;
    path += path ? `H${x(i - 1).toFixed(1)}V${y(line[i]).toFixed(1)}` : `M${to}`;
  }
  const dots = { yes: "", no: "" };
  const bars = { yes: "", no: "" };
  let none = "";
  const bar = (i) => {
    if (steps.error[i] === null || steps.after[i] === null) return;
    const span = (value) => y(Math.max(low, Math.min(high, value))).toFixed(1);
    const [a, b] = [steps.after[i] - steps.error[i], steps.after[i] + steps.error[i]];
    bars[steps.accepted[i] ? "yes" : "no"] += `M${x(i).toFixed(1)} ${span(a)}V${span(b)}`;
  };
  for (const i of thinned(steps, x, many ? 3 : 1)) {
    if (steps.after[i] === null) {
      if (!many && line[i] !== null) none += cross(x(i), y(line[i]), 4);
      continue;
    }
    dots[steps.accepted[i] ? "yes" : "no"] += circle(x(i), y(steps.after[i]), radius);
    if (!many) bar(i);
  }
  if (many && chosen >= 0) bar(chosen);
  const on = chosen >= 0 && steps.after[chosen] !== null;
  return html`<path class="bars yes" d=${bars.yes} /><path class="bars no" d=${bars.no} />
    <path class="line" d=${path} /><path class="none" d=${none} />
    <path class="dot no" d=${dots.no} /><path class="dot yes" d=${dots.yes} />
    ${on && html`<circle class="ring" cx=${x(chosen)} cy=${y(steps.after[chosen])}
      r=${radius + 5} />`}`;
}

function beside(x, reading) {
  return x(reading.after - 1) + (reading.after > 0 ? BESIDE : 0);
}

/** The first and the last figures, beside what they belong to. */
function Ends({ line, tests, x, y }) {
  const last = line.length - 1;
  const marks = [];
  if (line[last] !== null) marks.push(["line", last - 1, line[last]]);
  const test = tests[tests.length - 1];
  if (test) marks.push(["test", test.after - 1, test.mean]);
  if (marks.length === 2 && marks[0][1] === marks[1][1]) {
    const [a, b] = marks.map((mark) => y(mark[2]));
    if (Math.abs(a - b) < 15) {
      marks[0].push(a <= b ? -8 : 8);
      marks[1].push(a <= b ? 8 : -8);
    }
  }
  return marks.map(([kind, i, value, shift]) => html`<text key=${kind} class=${`end ${kind}`}
    x=${x(i) + (marks.length > 1 ? 11 + BESIDE : 11)} y=${y(value) + 4 + (shift || 0)}>${score(value)}</text>`);
}

function Legend({ tests, none }) {
  const mark = (name, d) => html`<svg width="18" height="14" viewBox="0 0 18 14" aria-hidden="true">
    <path class=${name} d=${d} /></svg>`;
  return html`<ul class="legend">
    <li>${mark("line", "M1 10H9V4H17")} score of the installed text</li>
    <li>${mark("dot yes", circle(9, 7, 4))} accepted</li>
    <li>${mark("dot no", circle(9, 7, 4))} best one refused</li>
    ${none && html`<li>${mark("none", cross(9, 7, 4))} none got as far as a comparison</li>`}
    <li>${mark("bars yes", "M9 2V12")} ± 1 standard error of the gain</li>
    ${tests > 0 && html`<li>${mark("test", diamond(9, 7, 5))} held-out reading</li>`}</ul>`;
}
