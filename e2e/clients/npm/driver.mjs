// Runs the clients of npm that need no page. It reads commands, a line of JSON each,
// and writes what the application of each client is given.
import { createInterface } from "node:readline";
import { Application, never } from "./application.mjs";

// openai is an application with one of OpenAI's clients.
async function openai(app, { default: OpenAI }) {
  const client = new OpenAI({ apiKey: "-", maxRetries: 0, fetch: (_, init) => fetch(app.URL, init) });
  const stream = await client.chat.completions.create({ model: "m", messages: [], stream: true }, { signal: app.stopped.signal });
  for await (const chunk of stream) {
    app.text(chunk.choices[0].delta.content);
    if (chunk.choices[0].finish_reason) app.last();
  }
}

// gemini is an application with Google's client, which passes over a block that does not
// begin with its data: a comment in front is enough.
async function gemini(app) {
  const { GoogleGenAI } = await import("@google/genai");
  const client = new GoogleGenAI({ apiKey: "-", httpOptions: { baseUrl: app.URL } });
  const stream = await client.models.generateContentStream({ model: "m", contents: "hello", config: { abortSignal: app.stopped.signal } });
  for await (const { candidates: [{ content, finishReason }] } of stream) {
    app.text(content.parts[0].text);
    if (finishReason) app.last();
  }
}

// blocks is an application that reads one answer, block after block.
async function blocks(app, read) {
  const response = await fetch(app.URL, app.init);
  if (response.status !== 200) throw new Error(`status ${response.status}`);
  for await (const { data, event } of read(response)) app.json(data, event);
}

// Each adapter is what the documentation of its package shows, and what docs/clients.md
// adds. It returns when its stream is over.
const adapters = {
  "openai 7": async (app) => openai(app, await import("openai")),
  "openai 6": async (app) => openai(app, await import("openai6")),

  async "AI SDK, useChat"(app) {
    const { DefaultChatTransport } = await import("ai");
    const transport = new DefaultChatTransport({ api: app.URL });
    const stream = await transport.sendMessages({ trigger: "submit-message", chatId: "1", messages: [], abortSignal: app.stopped.signal });
    for await (const chunk of stream) {
      if (chunk.type === "text-delta") app.text(chunk.delta);
      else if (chunk.type === "finish") app.last();
      else if (!["start", "text-start", "text-end"].includes(chunk.type)) app.odd(JSON.stringify(chunk));
    }
  },

  async "AI SDK, parseJsonEventStream"(app) {
    const { parseJsonEventStream, jsonSchema } = await import("ai");
    const response = await fetch(app.URL, app.init);
    if (response.status !== 200) throw new Error(`status ${response.status}`);
    for await (const part of parseJsonEventStream({ stream: response.body, schema: jsonSchema({}) })) {
      if (!part.success) app.odd(part.error);
      else app.json(JSON.stringify(part.value));
    }
  },

  async "AI SDK, openai-compatible"(app) {
    const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
    const { streamText } = await import("ai");
    const model = createOpenAICompatible({ name: "m", baseURL: app.URL, fetch: (_, init) => fetch(app.URL, init) })("m");
    const { stream } = streamText({ model, prompt: "hello", maxRetries: 0, abortSignal: app.stopped.signal, onError() {} });
    for await (const part of stream) {
      if (part.type === "text-delta") app.text(part.text);
      else if (part.type === "error") throw part.error;
      else if (part.type === "finish" && part.finishReason === "stop") app.last();
    }
  },

  async "@anthropic-ai/sdk"(app) {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    const client = new Anthropic({ apiKey: "-", maxRetries: 0, fetch: (_, init) => fetch(app.URL, init) });
    const stream = await client.messages.create({ model: "m", max_tokens: 1, messages: [], stream: true }, { signal: app.stopped.signal });
    for await (const event of stream) {
      if (event.type === "content_block_delta") app.text(event.delta.text);
      else if (event.type === "message_stop") app.last();
    }
  },

  "@google/genai": gemini,
  "@google/genai, WithHeartbeat(0)": gemini,

  async "@ag-ui/client"(app) {
    const { HttpAgent } = await import("@ag-ui/client");
    const agent = new HttpAgent({ url: app.URL, threadId: "t" });
    app.closing({ close: () => agent.abortRun() });
    await agent.runAgent({ runId: "r" }, {
      onTextMessageContentEvent: ({ event }) => app.text(event.delta),
      onRunFinishedEvent: () => app.last(),
    });
  },

  async "graphql-sse"(app) {
    const { createClient } = await import("graphql-sse");
    const client = createClient({ url: app.URL, retryAttempts: 0 });
    const subscription = client.iterate({ query: "subscription { n }" });
    app.closing({ close: () => subscription.return() });
    for await (const { data } of subscription) app.step(data.n);
  },

  "eventsource 5": async (app) => app.native(new (await import("eventsource")).EventSource(app.URL)),
  "eventsource 4": async (app) => app.native(new (await import("eventsource4")).EventSource(app.URL)),
  "undici": async (app) => app.native(new (await import("undici")).EventSource(app.URL)),

  async "extended-eventsource"(app) {
    const { EventSource } = await import("extended-eventsource");
    await app.native(new EventSource(app.URL, { ...app.init, signal: undefined, disableLogger: true }));
  },

  async "eventsource-client"(app) {
    const { createEventSource } = await import("eventsource-client");
    app.closing(createEventSource({ url: app.URL, ...app.init, onMessage: ({ data, event }) => app.json(data, event) }));
    await never;
  },

  async "eventsource-client, stops at 410"(app) {
    const { createEventSource } = await import("eventsource-client");
    const source = app.closing(createEventSource({
      url: app.URL, ...app.init,
      onMessage: ({ data, event }) => app.json(data, event),
      async fetch(...args) {
        const response = await fetch(...args);
        if (response.status === 410) {
          source.close();
          app.over(new Error("too much was missed"));
        }
        return response;
      },
    }));
    await never;
  },

  async "event-source-plus"(app) {
    const { EventSourcePlus } = await import("event-source-plus");
    const controller = new EventSourcePlus(app.URL, app.init).listen({ onMessage: ({ data, event }) => app.json(data, event) });
    app.closing({ close: () => controller.abort() });
    await never;
  },

  async "event-source-plus, stops at 204 and 410"(app) {
    const { EventSourcePlus } = await import("event-source-plus");
    const controller = new EventSourcePlus(app.URL, app.init).listen({
      onMessage: ({ data, event }) => app.json(data, event),
      onResponse({ response }) {
        if (response.status !== 204 && response.status !== 410) return;
        controller.abort();
        app.over(response.status === 204 ? "done" : new Error("too much was missed"));
      },
    });
    app.closing({ close: () => controller.abort() });
    await never;
  },

  async "event-source-plus, no retries"(app) {
    const { EventSourcePlus } = await import("event-source-plus");
    const controller = new EventSourcePlus(app.URL, { ...app.init, retryStrategy: "on-error", maxRetryCount: 0 }).listen({
      onMessage: ({ data, event }) => app.json(data, event),
      onRequestError: ({ error }) => { controller.abort(); app.over(error); },
      onResponseError: ({ response }) => { controller.abort(); app.over(new Error(`status ${response.status}`)); },
    });
    app.closing({ close: () => controller.abort() });
    await new Promise((resolve) => controller.onAbort?.(resolve));
  },

  async "@sentool/fetch-event-source"(app) {
    const { fetchEventSource } = await import("@sentool/fetch-event-source");
    await new Promise((resolve, reject) => fetchEventSource(app.URL, {
      ...app.init,
      onmessage: ({ data, event }) => app.json(JSON.stringify(data), event),
      onerror: reject,
      done: resolve,
    }));
  },

  async "eventsource-parser"(app) {
    const { EventSourceParserStream } = await import("eventsource-parser/stream");
    await blocks(app, (response) => response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream()));
  },

  async "fetch-event-stream"(app) {
    const { events } = await import("fetch-event-stream");
    await blocks(app, (response) => events(response));
  },

  // What is written by hand, and handed around: every block has its data.
  async 'a loop over split("\\n\\n")'(app) {
    await blocks(app, async function* (response) {
      let rest = "";
      for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
        const parts = (rest + chunk).split("\n\n");
        rest = parts.pop();
        for (const part of parts) {
          const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
          yield { data: data.join("\n") };
        }
      }
    });
  },
};

const running = new Map();

createInterface({ input: process.stdin }).on("line", async (line) => {
  const command = JSON.parse(line);
  if (command.Stop) {
    running.get(command.Cell)?.stopped.abort();
    running.delete(command.Cell);
    return;
  }
  const app = new Application(command, (what) => console.log(JSON.stringify(what)));
  running.set(command.Cell, app);
  await app.run(adapters[command.Client]);
}).on("close", () => process.exit());

// What a client throws where nobody can catch it is the application's fault, too.
process.on("uncaughtException", (error) => console.log(`uncaught: ${error.stack}`.replaceAll("\n", " ").slice(0, 300)));
process.on("unhandledRejection", (error) => console.log(`unhandled: ${error?.stack ?? error}`.replaceAll("\n", " ").slice(0, 300)));
