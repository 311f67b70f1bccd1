// The TypeScript SDK's first generation: protocol 2025-11-25 and before.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ResourceUpdatedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

/** Connect to `server`, an address or a command; `sample` answers its sampling requests. */
export async function connect(server, { sample }) {
  const capabilities = sample ? { sampling: {} } : {};
  const client = new Client({ name: "typescript-sdk-1", version: "1" }, { capabilities });
  if (sample) client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => sample(params));
  const transport = server.url
    ? new StreamableHTTPClientTransport(new URL(server.url))
    : new StdioClientTransport(server);
  let protocol;
  const inform = transport.setProtocolVersion?.bind(transport);
  transport.setProtocolVersion = (version) => {
    protocol = version; // the SDK tells its transport alone what was agreed
    inform?.(version);
  };
  await client.connect(transport);
  return {
    protocol: () => protocol,
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    callTool: (params) => client.callTool(params),
    read: async (uri) => (await client.readResource({ uri })).contents[0].text,
    /** Subscribe; the promise within is of the first address that is announced. */
    watch: async (uri) => {
      const heard = new Promise((resolve) =>
        client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) =>
          resolve(params.uri),
        ),
      );
      await client.subscribeResource({ uri });
      return { heard };
    },
    close: () => client.close(),
  };
}
