// The TypeScript SDK's second generation: protocol 2026-07-28, and the older ones when asked to.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

/** Connect to `server`, an address or a command, in one era, never falling back to the other. */
export async function connect(server, { sample, era }) {
  const mode = era === "modern" ? { pin: "2026-07-28" } : "legacy";
  const client = new Client(
    { name: "typescript-sdk-2", version: "1" },
    { capabilities: sample ? { sampling: {} } : {}, versionNegotiation: { mode } },
  );
  if (sample) client.setRequestHandler("sampling/createMessage", ({ params }) => sample(params));
  const transport = server.url
    ? new StreamableHTTPClientTransport(new URL(server.url))
    : new StdioClientTransport(server);
  await client.connect(transport);
  return {
    protocol: () => client.getNegotiatedProtocolVersion(),
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    callTool: (params) => client.callTool(params),
    read: async (uri) => (await client.readResource({ uri })).contents[0].text,
    /** Subscribe; the promise within is of the first address that is announced. */
    watch: async (uri) => {
      const heard = new Promise((resolve) =>
        client.setNotificationHandler("notifications/resources/updated", ({ params }) =>
          resolve(params.uri),
        ),
      );
      if (era === "modern") await client.listen({ resourceSubscriptions: [uri] });
      else await client.subscribeResource({ uri });
      return { heard };
    },
    close: () => client.close(),
  };
}
