// The page's side of MCP Apps: JSON-RPC with the host that shows it, and nothing else.

const VERSION = "2026-01-26";

/** A link to the host. `on` has handlers by notification; `asked` by request.

`init()` gives what the host says of itself; `call(method, params)` asks it something.
*/
export function bridge({ on, asked }) {
  const open = new Map();
  let last = 0;
  const send = (message) => window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  const call = (method, params) => new Promise((resolve, reject) => {
    const id = ++last;
    open.set(id, { resolve, reject });
    send({ id, method, params });
  });
  const note = (method, params) => send({ method, params });

  window.addEventListener("message", (event) => {
    const said = event.data;
    if (event.source !== window.parent || !said || said.jsonrpc !== "2.0") return;
    if (said.method === undefined) {
      const waiting = open.get(said.id);
      if (!waiting) return;
      open.delete(said.id);
      if (said.error) waiting.reject(new Error(String(said.error.message || "The host refused.")));
      else waiting.resolve(said.result || {});
    } else if (said.id === undefined) {
      const handler = Object.hasOwn(on, said.method) ? on[said.method] : null;
      if (handler) handler(said.params || {});
    } else {
      const handler = Object.hasOwn(asked, said.method) ? asked[said.method] : null;
      if (handler) send({ id: said.id, result: handler(said.params || {}) || {} });
      else send({ id: said.id, error: { code: -32601, message: "There is no such method." } });
    }
  });

  const init = async () => {
    const host = await call("ui/initialize", {
      protocolVersion: VERSION,
      appInfo: { name: "textgrad-page", version: "1" },
      appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    });
    note("ui/notifications/initialized", {});
    return host;
  };
  return { init, call, note };
}
