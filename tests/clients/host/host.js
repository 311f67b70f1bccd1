// A host for the page's tests: the official AppBridge around a frame, steered from the test.

import { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";

const sizes = [];
const said = [];

/** Mount the page at `url` and hand it a call of `show`, as `options` say. */
window.mount = async (url, options) => {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", options.opaque ? "allow-scripts" : "allow-scripts allow-same-origin");
  frame.style.cssText = `width:${options.width || 720}px;height:400px;border:0;display:block`;
  document.body.append(frame);
  const capabilities = { openLinks: {}, ...(options.noTools ? {} : { serverTools: {} }) };
  const bridge = new AppBridge(null, { name: "test host", version: "1" }, capabilities, {
    hostContext: {
      theme: options.theme || "light",
      displayMode: "inline",
      availableDisplayModes: options.grows ? ["inline", "fullscreen"] : ["inline"],
      locale: "en",
      styles: { variables: options.variables || {} },
    },
  });
  bridge.oncalltool = async (params) => JSON.parse(await window.callTool(JSON.stringify(params)));
  bridge.onsizechange = ({ height }) => {
    sizes.push(height);
    if (height && !options.ignoresSize) frame.style.height = `${height}px`;
  };
  bridge.onmessage = async (params) => {
    said.push(params.content.map((part) => part.text).join());
    return options.mute ? { isError: true } : {};
  };
  bridge.onrequestdisplaymode = async () => ({ mode: "inline" });
  const ready = new Promise((resolve) => { bridge.oninitialized = resolve; });
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.src = url;
  await ready;
  if (options.arguments) await bridge.sendToolInput({ arguments: options.arguments });
  if (options.result) await bridge.sendToolResult(options.result);
  if (options.cancelled) await bridge.sendToolCancelled({ reason: "the user" });
  window.bridge = bridge;
};

window.sizes = sizes;
window.said = said;
