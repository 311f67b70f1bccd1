// The program: what is made from what, in layers.

import { html } from "./preact.js";
import { useWidth } from "./parts.js";
import { visible } from "./words.js";

const WIDE = 188;
const NARROW = 148; // where the column is
const TALL = 54;
const GAP = [52, 18];
const MOST = 60; // with more nodes, a list says more than a picture
const SWEEPS = 4;

/** Nodes with the layer and the place in it they are drawn at; `null` ids are bends of edges. */
export function layout(nodes, edges) {
  const into = new Map(nodes.map((node) => [node.id, []]));
  for (const edge of edges) into.get(edge.to).push(edge.from);
  const layer = new Map();
  const depth = (id) => {
    const stack = [id];
    while (stack.length) {
      const top = stack[stack.length - 1];
      const open = into.get(top).filter((from) => !layer.has(from));
      if (open.length) stack.push(...open);
      else {
        stack.pop();
        layer.set(top, Math.max(-1, ...into.get(top).map((from) => layer.get(from))) + 1);
      }
    }
  };
  for (const node of nodes) if (!layer.has(node.id)) depth(node.id);
  for (const node of nodes) {
    const users = edges.filter((edge) => edge.from === node.id).map((edge) => layer.get(edge.to));
    if (users.length) layer.set(node.id, Math.max(layer.get(node.id), Math.min(...users) - 1));
  }
  const layers = [];
  for (const node of nodes) (layers[layer.get(node.id)] ||= []).push(node.id);
  const paths = edges.map((edge, n) => {
    const bends = [];
    for (let k = layer.get(edge.from) + 1; k < layer.get(edge.to); k++) {
      const bend = `${n}/${k}`;
      layers[k].push(bend);
      bends.push(bend);
    }
    return { edge, stops: [edge.from, ...bends, edge.to] };
  });
  ordered(layers, paths);
  const place = new Map();
  layers.forEach((ids, k) => ids.forEach((id, n) => place.set(id, [k, n, ids.length])));
  return { layers, place, paths };
}

/** Puts what belongs together beside each other, by the mean place of its neighbours. */
function ordered(layers, paths) {
  const beside = new Map();
  const link = (a, b) => (beside.get(a) || beside.set(a, []).get(a)).push(b);
  for (const { stops } of paths) {
    for (let n = 1; n < stops.length; n++) {
      link(stops[n - 1], stops[n]);
      link(stops[n], stops[n - 1]);
    }
  }
  const at = new Map();
  const note = (ids) => ids.forEach((id, n) => at.set(id, n - ids.length / 2));
  layers.forEach(note);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const order = sweep % 2 ? [...layers].reverse() : layers;
    for (const ids of order) {
      const mean = (id) => {
        const some = (beside.get(id) || []).map((other) => at.get(other));
        return some.length ? some.reduce((a, b) => a + b, 0) / some.length : at.get(id);
      };
      const keys = new Map(ids.map((id) => [id, mean(id)]));
      ids.sort((a, b) => keys.get(a) - keys.get(b));
      note(ids);
    }
  }
}

/** The graph as a picture, or as a list where it is large. */
export function Graph({ graph }) {
  const [ref, width] = useWidth(640);
  if (!graph.nodes.length) return html`<p class="quiet" ref=${ref}>It is empty.</p>`;
  if (graph.nodes.length > MOST) return html`<div ref=${ref}><${Outline} graph=${graph} /></div>`;
  const { layers, place, paths } = layout(graph.nodes, graph.edges);
  const tall = Math.max(...layers.map((ids) => ids.length));
  const box = [width < 480 ? NARROW : WIDE, TALL];
  const across = layers.length * (box[0] + GAP[0]) - GAP[0];
  const down = across > width && tall * (box[0] + 14) <= width + 40;
  const size = down ? [box[0] + 14, box[1] + 34] : [box[0] + GAP[0], box[1] + GAP[1]];
  const centre = (id) => {
    const [k, n, of] = place.get(id);
    const side = n + (tall - of) / 2;
    return down
      ? [side * size[0] + box[0] / 2 + 1, k * size[1] + box[1] / 2 + 1]
      : [k * size[0] + box[0] / 2 + 1, side * size[1] + box[1] / 2 + 1];
  };
  const extent = down
    ? [tall * size[0] - 12, layers.length * size[1] - 32]
    : [across + 2, tall * size[1] - GAP[1] + 2];
  return html`<div class="graph" ref=${ref} tabindex="0" role="group"
    aria-label="The program's graph">
    <svg width=${extent[0]} height=${extent[1]} viewBox=${`0 0 ${extent[0]} ${extent[1]}`}
      role="img" aria-label=${spoken(graph)}>
      ${paths.map(({ edge, stops }) => html`<path key=${`${edge.from} ${edge.to} ${edge.name}`}
        class="edge" d=${curve(stops.map(centre), down, box)} />`)}
      ${graph.nodes.map((node) => html`<${Node} key=${node.id} node=${node}
        at=${centre(node.id)} box=${box} />`)}
    </svg></div>`;
}

function curve(points, down, box) {
  const half = [box[0] / 2, box[1] / 2];
  const way = points.map(([x, y], n) => {
    const shift = n === 0 ? 1 : n === points.length - 1 ? -1 : 0;
    return down ? [x, y + shift * half[1]] : [x + shift * half[0], y];
  });
  let d = `M${way[0][0]} ${way[0][1]}`;
  for (let n = 1; n < way.length; n++) {
    const [a, b] = [way[n - 1], way[n]];
    const mid = down ? (a[1] + b[1]) / 2 : (a[0] + b[0]) / 2;
    d += down
      ? `C${a[0]} ${mid} ${b[0]} ${mid} ${b[0]} ${b[1]}`
      : `C${mid} ${a[1]} ${mid} ${b[1]} ${b[0]} ${b[1]}`;
  }
  return d;
}

function Node({ node, at, box }) {
  const [x, y] = [at[0] - box[0] / 2, at[1] - box[1] / 2];
  const room = box[0] === WIDE ? 23 : 18;
  const kind = node.loss ? "loss" : node.kind;
  const label = visible(node.label.replace(/\s+/g, " "));
  const words = label.length > room ? `${label.slice(0, room - 1)}…` : label;
  return html`<g class=${`node ${kind}${node.stale ? " stale" : ""}`}>
    <title>${`${node.id} ${label}`}</title>
    <rect x=${x} y=${y} width=${box[0]} height=${box[1]} rx=${kind === "field" ? 27 : 7} />
    <text class="name" x=${at[0]} y=${at[1] - 3} text-anchor="middle">${words}</text>
    <text class="what" x=${at[0]} y=${at[1] + 15} text-anchor="middle">${said(node, room)}</text></g>`;
}

function said(node, room = 99) {
  const version = node.version > 1 ? ` @${node.version}` : "";
  const stale = node.stale ? ", stale" : "";
  const what = visible(node.what.replace(/\s+/g, " ")).slice(0, 18);
  const words = `${node.id} ${node.loss ? "loss: " : ""}${what}${version}${stale}`;
  return words.length > room + 4 ? `${words.slice(0, room + 3)}…` : words;
}

function spoken(graph) {
  const name = new Map(graph.nodes.map((node) => [node.id, visible(node.label)]));
  const made = graph.nodes.filter((node) => node.kind === "output").map((node) => {
    const from = graph.edges.filter((edge) => edge.to === node.id);
    return `${name.get(node.id)} is made from ${from.map((e) => name.get(e.from)).join(", ")}`;
  });
  return `${made.join("; ") || "texts without operations"}.`;
}

function Outline({ graph }) {
  return html`<ol class="outline">${graph.nodes.map((node) => html`<li key=${node.id}>
    ${said(node)} <bdi>${visible(node.label)}</bdi>
    <span class="quiet"> ${graph.edges.filter((edge) => edge.to === node.id)
    .map((edge) => edge.from).join(", ")}</span></li>`)}</ol>
    ${graph.truncated && html`<p class="quiet">The rest is left out.</p>`}`;
}
