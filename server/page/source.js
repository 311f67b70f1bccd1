// Where the page's data comes from: a tool of the server, its viewer, or the file itself.

const ID = /\btg_[A-Za-z0-9_-]{16,64}\b/;

/** The text of a tool's result. */
export function textOf(result) {
  const parts = (result && result.content) || [];
  return parts.filter((part) => part.type === "text").map((part) => part.text).join("\n");
}

/** The session that a call of `show` is about: from its arguments, or else from its result. */
export function sessionOf(given, result) {
  const facts = (result && result.structuredContent) || {};
  const found = (given && given.session_id) || facts.session_id;
  if (typeof found === "string" && ID.test(found)) return found;
  const match = ID.exec(textOf(result));
  return match ? match[0] : null;
}

/** The columns of all steps, each as a list: those with a rule come as the rule alone. */
export function unpacked(columns) {
  const whole = (column) => Array.isArray(column) ? column
    : Array.from({ length: column.count }, (_, i) => "from" in column ? column.from + i : column.same);
  return Object.fromEntries(Object.entries(columns).map(([name, one]) => [name, whole(one)]));
}

/** Data by `tools/call` through the host. */
export function fromHost(call, session) {
  return {
    way: "chat",
    session,
    get: async (view, args) => {
      const result = await call("tools/call", {
        name: "page_data",
        arguments: { session_id: session, view, args: args || {} },
      });
      const text = textOf(result);
      if (result.isError) throw new Error(text || "The server refused.");
      return JSON.parse(text);
    },
  };
}

/** Data from the viewer on this machine. */
export function fromViewer(session) {
  return {
    way: "viewer",
    session,
    get: async (view, args) => {
      const asked = new URLSearchParams({ session: session || "", args: JSON.stringify(args || {}) });
      const answer = await fetch(`/api/${view}?${asked}`, {
        headers: { "x-textgrad-page": "1" },
        cache: "no-store",
      });
      const data = await answer.json();
      if (!answer.ok) throw new Error(data.error || `The viewer answered ${answer.status}.`);
      return data;
    },
  };
}

/** Data that the file holds: `answers` by view and arguments, and the rows of its one comparison. */
export function fromFile(island) {
  const key = (view, args) => `${view} ${JSON.stringify(Object.entries(args || {}).sort())}`;
  const answers = new Map(island.answers.map(([view, args, answer]) => [key(view, args), answer]));
  return {
    way: "file",
    session: null,
    about: island.about,
    get: async (view, args) => {
      if (view === "rows") return rowsOf(island, args);
      const found = answers.get(key(view, args));
      if (found === undefined) throw new Error("This is not in the file.");
      return found;
    },
  };
}

function rowsOf(island, args) {
  const table = island.rows.find((one) => one.loss === args.loss && one.split === args.split
    && JSON.stringify(one.a) === JSON.stringify(args.a)
    && JSON.stringify(one.b) === JSON.stringify(args.b));
  if (!table) throw new Error("The file holds the first and the latest texts' examples only.");
  const change = (row) => (row.a.score === null || row.b.score === null
    ? null : row.b.score - row.a.score);
  const fits = {
    all: () => true,
    better: (row) => change(row) > 0,
    worse: (row) => change(row) < 0,
    same: (row) => change(row) === 0,
  }[args.filter || "all"];
  const chosen = table.rows.filter(fits);
  const offset = args.offset || 0;
  return {
    ...table,
    total: chosen.length,
    offset,
    rows: chosen.slice(offset, offset + (args.limit || 100)),
  };
}
