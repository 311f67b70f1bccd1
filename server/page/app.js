// The page: finds out where it is, asks for the summary again and again, draws what is chosen.

import { html, render, useCallback, useEffect, useRef, useState } from "./preact.js";
import { bridge } from "./bridge.js";
import { Cost } from "./cost.js";
import { Examples } from "./examples.js";
import { Hero, Overview } from "./overview.js";
import { Said, copied, useWidth } from "./parts.js";
import { fragmentOf, placeOf } from "./place.js";
import { Compare, Sessions } from "./sessions.js";
import { fromFile, fromHost, fromViewer, sessionOf, textOf, unpacked } from "./source.js";
import { Steps } from "./steps.js";
import { Texts } from "./texts.js";
import { ago, count, plural } from "./words.js";

const TABS = [["overview", Overview], ["steps", Steps], ["texts", Texts], ["examples", Examples],
  ["cost", Cost]];
const SOON = 2000;
const LATE = 15000;
const WORST = 30000;
const ENOUGH = 30 * 60 * 1000; // without a change, in the chat

/** The summary, asked for while it is looked at: soon while a run is under way, else ever later. */
function useLive(source, gone) {
  const [state, setState] = useState({ summary: null, error: null, asleep: false });
  const wake = useRef(() => {});
  useEffect(() => {
    let revision = null;
    let wait = SOON;
    let changed = Date.now();
    let timer = null;
    let over = false;
    const later = () => { if (!over) timer = setTimeout(look, wait); };
    const look = async () => {
      if (over || gone.current) return;
      if (document.hidden || gone.unseen) { later(); return; }
      try {
        const found = await source.get("summary", revision ? { since: revision } : {});
        if (over) return;
        if (!found.same) {
          revision = found.revision;
          changed = Date.now();
          const summary = { ...found, steps_taken: unpacked(found.steps_taken) };
          setState({ summary, error: null, asleep: false });
          wait = found.run && found.run.status === "running" ? SOON : 2 * SOON;
        } else {
          wait = Math.min(LATE, wait * 1.5);
          setState((s) => s.error ? { ...s, error: null } : s);
        }
      } catch (error) {
        if (over) return;
        setState((s) => ({ ...s, error: error.message || String(error) }));
        wait = Math.min(WORST, wait * 2);
      }
      if (source.way === "file") return;
      if (source.way === "chat" && Date.now() - changed > ENOUGH) {
        setState((s) => ({ ...s, asleep: true }));
        return;
      }
      later();
    };
    wake.current = () => { clearTimeout(timer); wait = SOON; changed = Date.now(); look(); };
    look();
    return () => { over = true; clearTimeout(timer); };
  }, [source]);
  return [state, () => wake.current()];
}

/** A session, in whichever way it is looked at. `host` is null outside a chat. */
function Session({ source, host, gone, home }) {
  const [{ summary, error, asleep }, wake] = useLive(source, gone);
  const [place, setPlace] = useState(() => placeOf(host ? "" : location.hash));
  const [print, setPrint] = useState(false);
  const [ref, width] = useWidth(800);
  const go = useCallback((change) => setPlace((now) => ({ ...now, ...change })), []);
  useEffect(() => {
    if (host) return;
    const fragment = fragmentOf(place);
    if (placeKey(location.hash) !== `#${fragment}`) history.replaceState(null, "", `#${fragment}`);
  }, [place]);
  useEffect(() => {
    const on = () => setPrint(true);
    const off = () => setPrint(false);
    const moved = () => setPlace(placeOf(location.hash));
    window.addEventListener("beforeprint", on);
    window.addEventListener("afterprint", off);
    if (!host) window.addEventListener("hashchange", moved);
    return () => {
      window.removeEventListener("beforeprint", on);
      window.removeEventListener("afterprint", off);
      window.removeEventListener("hashchange", moved);
    };
  }, []);
  if (!summary) {
    return html`<div class="page" ref=${ref}>${error
      ? html`<p class="error" role="alert"><${Said} text=${error} /></p>`
      : html`<p class="quiet busy">Reading the session …</p>`}</div>`;
  }
  const steps = summary.steps_taken.n;
  const shown = { ...place, step: steps.includes(place.step) ? place.step : latest(summary) };
  const more = { summary, get: source.get, place: shown, go, print, width, way: source.way };
  const worse = (best) => go({ tab: "examples", filter: "worse", split: best.split,
    loss: best.loss, a: null, b: null, example: null });
  return html`<div class="page" ref=${ref}>
    <header>
      <div><p class="kicker">${home ? html`<button type="button" class="link" onClick=${home}>
          sessions</button> / ` : ""}textgrad session</p>
        <h1><${Said} text=${summary.title || "Untitled"} /></h1></div>
      <p class="quiet updated">${source.way === "file" ? "as of" : "updated"} ${source.way === "file"
    ? summary.updated.slice(0, 16).replace("T", " ") : ago(summary.updated)}
        ${host && host.canGrow() && html`<button type="button" class="soft"
          onClick=${host.grow}>Full screen</button>`}</p>
    </header>
    ${error && html`<p class="error" role="alert"><${Said} text=${error} /></p>`}
    ${asleep && html`<p class="note">Nothing changed for long. <button type="button" class="soft"
      onClick=${wake}>Look again</button></p>`}
    <${Live} run=${summary.run} source=${source} host=${host} />
    <${Hero} summary=${summary} onWorse=${worse} />
    ${print ? TABS.map(([name, View]) => html`<div key=${name} class="printed"><${View} ...${more} />
      </div>`) : html`<${Tabs} place=${shown} go=${go} more=${more} />`}
    ${source.about && html`<footer>${source.about.map((words) => html`<p key=${words}>${words}</p>`)}
      </footer>`}
  </div>`;
}

const placeKey = (hash) => (hash === "" ? "#" : hash);

function latest(summary) {
  const { n, accepted } = summary.steps_taken;
  const at = accepted.lastIndexOf(1);
  return n[at >= 0 ? at : n.length - 1] || null;
}

function Tabs({ place, go, more }) {
  const list = useRef(null);
  const key = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = TABS.findIndex(([name]) => name === place.tab);
    const to = (at + by + TABS.length) % TABS.length;
    go({ tab: TABS[to][0] });
    list.current.children[to].focus();
  };
  const [, View] = TABS.find(([name]) => name === place.tab);
  return html`<div class="tabs" role="tablist" aria-label="Views" ref=${list} onKeyDown=${key}>
      ${TABS.map(([name]) => html`<button type="button" role="tab" key=${name} id=${`tab-${name}`}
        aria-selected=${name === place.tab ? "true" : "false"} aria-controls="panel"
        tabindex=${name === place.tab ? 0 : -1} onClick=${() => go({ tab: name })}>${name}</button>`)}
    </div>
    <div role="tabpanel" id="panel" aria-labelledby=${`tab-${place.tab}`} key=${place.tab}>
      <${View} ...${more} /></div>`;
}

const ENDED = ["done", "cancelled"];

/** What is going on, said once for each step; how many calls there are is only seen. */
function Live({ run, source, host }) {
  const [copiedWords, setCopied] = useState("");
  if (!run || ENDED.includes(run.status)) return null;
  const open = Object.entries(run.open);
  const total = open.reduce((sum, [, n]) => sum + n, 0);
  const at = run.step === null || run.step === undefined ? ""
    : `, step ${Math.min(run.step + 1, run.steps || run.step + 1)}${run.steps ? ` of ${run.steps}` : ""}`;
  const word = { running: "Running", needs_completions: "Waiting for answers", failed: "Failed" };
  const sentence = `Go on: resume(session_id='${source.session || "…"}')`;
  const act = async () => {
    const done = host ? await host.say(sentence) : false;
    if (!done) await copied(sentence).then(() => setCopied("Copied"), () => setCopied(sentence));
  };
  const calls = [`${plural(run.answered, "call")} answered`, total > 0 && `${count(total)} open (${
    open.map(([name, n]) => `${count(n)} ${name}`).join(", ")})`].filter(Boolean).join(", ");
  return html`<div class=${`live ${run.status}`}>
    <p><b role="status">${word[run.status] || run.status}: ${run.tool}${at}</b>
      <span class="quiet"> ${calls}</span></p>
    ${run.error && html`<p class="error"><${Said} text=${run.error} /></p>`}
    ${run.status !== "running" && source.way !== "file" && html`<p><button type="button" class="soft"
      onClick=${act}>${host ? "Ask the assistant to go on" : "Copy the call that goes on"}</button>
      <span class="quiet" role="status">${copiedWords}</span></p>`}</div>`;
}

/** The viewer: a list of sessions, a comparison, or one session, by the fragment. */
function Viewer() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const moved = () => setHash(location.hash);
    window.addEventListener("hashchange", moved);
    return () => window.removeEventListener("hashchange", moved);
  }, []);
  const { session, compare } = placeOf(hash);
  const source = useRef(null);
  if (!source.current || source.current.session !== (session || null)) {
    source.current = fromViewer(session || null);
  }
  const to = (fragment) => { location.hash = fragment; setHash(`#${fragment}`); };
  const open = (id) => to(fragmentOf({ session: id }));
  if (session) {
    return html`<${Session} key=${session} source=${source.current} host=${null} gone=${{}}
      home=${() => to("")} />`;
  }
  return html`<div class="page"><header><div><p class="kicker">textgrad</p>
    <h1>${compare ? "Compared" : "Sessions"}</h1></div>
    ${compare && html`<p><button type="button" class="soft" onClick=${() => to("")}>All sessions
      </button></p>`}</header>
    ${compare ? html`<${Compare} get=${source.current.get} ids=${compare.split(" ")} open=${open} />`
    : html`<${Sessions} get=${source.current.get} open=${open}
      compare=${(ids) => to(fragmentOf({ compare: ids.join(" ") }))} />`}</div>`;
}

function themed(theme) {
  const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

function draw(what) {
  render(what, document.getElementById("root"));
}

/** In a page of its own: the theme is the reader's. */
function alone(what) {
  themed(null);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => themed(null));
  document.addEventListener("keydown", (event) => {
    const find = event.key === "/" && document.getElementById("find");
    if (find && document.activeElement !== find) {
      event.preventDefault();
      find.focus();
    }
  });
  draw(what);
}

/** In a chat: asks the host, and says how tall it is. */
async function inChat() {
  const gone = { current: false, unseen: false };
  let context = {};
  let given = null;
  let result = null;
  let host = null;
  let started = false;
  const began = () => {
    if (!host || started) return;
    const session = sessionOf(given, result);
    if (host.hostCapabilities && host.hostCapabilities.serverTools) {
      started = session !== null;
      if (!started) return;
      draw(html`<${Session} source=${fromHost(link.call, session)} host=${actions} gone=${gone} />`);
    } else if (result) {
      started = true;
      draw(html`<${Words} text=${textOf(result) || "This host lets the page ask for nothing."} />`);
    }
  };
  const told = (changes) => {
    context = { ...context, ...changes };
    themed(context.theme);
    const styles = (context.styles && context.styles.variables) || {};
    for (const [name, value] of Object.entries(styles)) {
      if (/^--(color|font)-[a-z0-9-]+$/.test(name) && value) {
        document.documentElement.style.setProperty(name, String(value));
      }
    }
  };
  const link = bridge({
    on: {
      "ui/notifications/tool-input": (params) => { given = params.arguments || {}; began(); },
      "ui/notifications/tool-result": (params) => { result = params; began(); },
      "ui/notifications/tool-cancelled": () => {
        if (!started) draw(html`<${Words} text="The call was cancelled." />`);
      },
      "ui/notifications/host-context-changed": told,
    },
    asked: {
      ping: () => ({}),
      "ui/resource-teardown": () => { gone.current = true; return {}; },
    },
  });
  const actions = {
    canGrow: () => (context.availableDisplayModes || []).includes("fullscreen")
      && context.displayMode !== "fullscreen",
    grow: () => link.call("ui/request-display-mode", { mode: "fullscreen" }).catch(() => {}),
    say: async (text) => {
      try {
        const answer = await link.call("ui/message",
          { role: "user", content: [{ type: "text", text }] });
        return !answer.isError;
      } catch {
        return false;
      }
    },
  };
  draw(html`<div class="page"><p class="quiet busy">Reading the session …</p></div>`);
  host = await link.init();
  told(host.hostContext || {});
  watchSize(link.note);
  new IntersectionObserver(([seen]) => { gone.unseen = !seen.isIntersecting; })
    .observe(document.documentElement);
  began();
}

function Words({ text }) {
  return html`<div class="page"><pre class="plain"><${Said} text=${text} /></pre></div>`;
}

function watchSize(note) {
  let last = 0;
  let timer = null;
  const tell = () => {
    const height = Math.ceil(document.getElementById("root").getBoundingClientRect().height);
    if (height === last) return;
    last = height;
    note("ui/notifications/size-changed", { width: document.documentElement.clientWidth, height });
  };
  new ResizeObserver(() => { clearTimeout(timer); timer = setTimeout(tell, 60); })
    .observe(document.getElementById("root"));
  tell();
}

function main() {
  const island = document.getElementById("island");
  const way = document.documentElement.dataset.way;
  if (island) {
    alone(html`<${Session} source=${fromFile(JSON.parse(island.textContent))} host=${null}
      gone=${{}} />`);
  } else if (way === "viewer") alone(html`<${Viewer} />`);
  else inChat();
}

main();
