// Asks as a service does, with the server provider: one flag for each line on stdin, `KEY DEFAULT`; the answer as JSON.
import { createInterface } from "node:readline";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: process.argv[2] }));
const client = OpenFeature.getClient();

for await (const line of createInterface({ input: process.stdin })) {
  const [key, fallback] = line.split(" ");
  console.log(JSON.stringify(await client.getBooleanDetails(key, fallback === "true")));
}
