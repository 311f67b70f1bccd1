// What is chosen, as it stands in the fragment of the address, so that a place can be linked.

const TABS = ["overview", "steps", "texts", "examples", "cost"];
const NUMBERS = ["step", "from", "to", "a", "b"];
const WORDS = ["tab", "session", "variable", "verdict", "filter", "example", "call", "loss", "split",
  "by", "compare"];

/** The place that a fragment names; what is no place in it is left out. */
export function placeOf(fragment) {
  const found = { tab: "overview" };
  for (const [key, value] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    const n = Number(key === "step" ? value.replace(/^s/, "") : value);
    if (WORDS.includes(key)) found[key] = value;
    else if (NUMBERS.includes(key) && Number.isInteger(n)) found[key] = n;
  }
  if (!TABS.includes(found.tab)) found.tab = "overview";
  return found;
}

/** The fragment of a place. */
export function fragmentOf(place) {
  const kept = Object.entries(place).filter(([key, value]) => value !== null
    && value !== undefined && value !== "" && !(key === "tab" && value === "overview"));
  return new URLSearchParams(kept.map(([k, v]) => [k, k === "step" ? `s${v}` : String(v)]))
    .toString();
}
