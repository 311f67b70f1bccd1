// The page's modules by themselves: node --test

import assert from "node:assert/strict";
import { test } from "node:test";

const from = (name) => import(`${process.env.PAGE}/${name}.mjs`);
const { diff } = await from("diff");
const { axis, installed, thinned, told } = await from("chart");
const { layout } = await from("graph");
const { chance, count, gain, hides, score, signed, visible } = await from("words");
const { fromFile, sessionOf } = await from("source");
const { fragmentOf, placeOf } = await from("place");

let seed = 7;
const random = (n) => {
  seed = (seed * 1103515245 + 12345) % 2147483648;
  return seed % n;
};

test("a diff rejoins to either text", () => {
  const words = ["a", "b", "the", "x\n", " ", "é", "cat", ".", "\n", "👩‍🚀"];
  const text = () => Array.from({ length: random(40) }, () => words[random(words.length)]).join("");
  for (let n = 0; n < 2000; n++) {
    const [a, b] = [text(), text()];
    const found = diff(a, b);
    assert.equal(found.filter(([kind]) => kind <= 0).map((one) => one[1]).join(""), a);
    assert.equal(found.filter(([kind]) => kind >= 0).map((one) => one[1]).join(""), b);
  }
});

test("texts with nothing alike are told as wholes", () => {
  const text = (mark) => Array.from({ length: 1000 }, (_, n) => mark + n).join(" ");
  assert.deepEqual(diff(text("a"), text("b")).map((one) => one[0]), [-1, 1]);
});

test("a change is told by its words", () => {
  assert.deepEqual(diff("Be kind.", "Be brief."), [[0, "Be "], [-1, "kind"], [1, "brief"], [0, "."]]);
  assert.deepEqual(diff("", ""), []);
});

test("of many steps few are drawn, the accepted ones among them", () => {
  const n = Array.from({ length: 10000 }, (_, i) => i + 1);
  const steps = { n, accepted: n.map((i) => Number(i % 1000 === 0)), after: n.map((i) => (i % 97) / 97) };
  const drawn = thinned(steps, (i) => i / 10, 3);
  assert.ok(drawn.length < 2000);
  for (let i = 999; i < 10000; i += 1000) assert.ok(drawn.includes(i));
});

test("the installed line follows accepted steps alone", () => {
  const steps = { n: [1, 2, 3], accepted: [1, 0, 1], before: [0.2, 0.5, 0.5], after: [0.5, 0.4, 0.9],
    gain: [0.3, -0.1, 0.4], error: [0.1, 0.1, null], examples: [10, 10, 1] };
  assert.deepEqual(installed(steps), [0.2, 0.5, 0.5, 0.9]);
  assert.equal(told(steps, 1), "step 2, refused: 0.50 to 0.40, gain −0.10 ± 0.10 on 10 examples");
});

test("an axis holds its values", () => {
  for (const [low, high] of [[0, 1], [0.5, 0.5], [0.91, 0.93], [-3, 7], [12, 900]]) {
    const [from, to, ticks] = axis([low, high]);
    assert.ok(from <= low && to >= high && ticks.length >= 2 && ticks.length < 12);
  }
});

test("a graph's layers follow its edges, and long edges bend around nodes", () => {
  const nodes = ["a", "b", "c", "d"].map((id) => ({ id }));
  const edges = [["a", "b"], ["b", "c"], ["c", "d"], ["a", "d"]].map(([x, y]) => ({ from: x, to: y }));
  const { place, paths } = layout(nodes, edges);
  assert.deepEqual(["a", "b", "c", "d"].map((id) => place.get(id)[0]), [0, 1, 2, 3]);
  assert.equal(paths[3].stops.length, 4);
});

test("figures are written as people read them", () => {
  assert.equal(score(0.004), "0.004");
  assert.equal(signed(-0.5), "−0.50");
  assert.equal(gain(0.5, 0.07), "+0.50 ± 0.07");
  assert.equal(chance(0.125), "0.125");
  assert.equal(count(1234567), "1\u2009234\u2009567");
});

test("what cannot be seen is shown", () => {
  assert.ok(hides("a\u202eb") && hides("a\u0007") && !hides("a\r\n\tb"));
  assert.equal(visible("a\u202eb\u0007"), "a‹U+202E›b␇");
});

test("the session is found however little of a call a host hands on", () => {
  const id = "tg_0123456789abcdef01";
  assert.equal(sessionOf({ session_id: id }, null), id);
  assert.equal(sessionOf(null, { structuredContent: { session_id: id } }), id);
  assert.equal(sessionOf({}, { content: [{ type: "text", text: `session_id: ${id}\nstatus: done` }] }), id);
  assert.equal(sessionOf({ session_id: 5 }, { content: [] }), null);
});

test("a place comes back from its fragment, and rubbish is no place", () => {
  const place = { tab: "steps", step: 3, from: 1, to: 4, filter: "worse" };
  assert.deepEqual(placeOf(`#${fragmentOf(place)}`), place);
  assert.deepEqual(placeOf("#tab=__proto__&step=x&%"), { tab: "overview" });
});

test("a file answers what it holds, and says so of the rest", async () => {
  const row = (id, a, b) => ({ id, a: { score: a }, b: { score: b } });
  const asked = { loss: "v5", split: "train", a: { v1: 1 }, b: { v1: 2 } };
  const source = fromFile({
    answers: [["step", { step: 1 }, { n: 1 }]],
    rows: [{ ...asked, counts: {}, rows: [row("e1", 0, 1), row("e2", 1, 0), row("e3", 1, 1)] }],
    about: [],
  });
  assert.deepEqual(await source.get("step", { step: 1 }), { n: 1 });
  await assert.rejects(source.get("step", { step: 2 }), /not in the file/);
  const worse = await source.get("rows", { ...asked, filter: "worse" });
  assert.deepEqual([worse.total, worse.rows[0].id], [1, "e2"]);
});
