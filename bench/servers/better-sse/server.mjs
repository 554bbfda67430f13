// better-sse on Node's own server, as the process that the benchmark measures.
// It serves GET /events?topic=T on its file 3. Its standard input has a line for
// each event, "TOPIC EVENT", or an empty line, which asks it to collect its
// garbage and to say so with a line. It ends with its input.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createChannel, createEventBuffer, createSession } from "better-sse";

// The events are JSON already, so there is nothing to serialize.
const options = { serializer: (event) => event };
const channels = new Map();

function channelOf(topic) {
	let channel = channels.get(topic);
	if (!channel) {
		channel = createChannel();
		channels.set(topic, channel);
	}
	return channel;
}

createServer(async (request, response) => {
	const { pathname, searchParams } = new URL(request.url, "http://localhost");
	if (pathname !== "/events") {
		response.writeHead(404).end();
		return;
	}
	const session = await createSession(request, response, options);
	channelOf(searchParams.get("topic")).register(session);
}).listen({ fd: 3 });

createInterface({ input: process.stdin })
	.on("line", (line) => {
		if (line === "") {
			globalThis.gc();
			console.log();
			return;
		}
		const space = line.indexOf(" ");
		// A channel's broadcast would encode the event again for each session.
		const buffer = createEventBuffer(options).push(line.slice(space + 1));
		for (const session of channelOf(line.slice(0, space)).activeSessions) {
			session.batch(buffer);
		}
	})
	.on("close", () => process.exit());
