// Runs the clients of npm that need no page. It reads commands, a line of JSON each,
// and writes what the application of each client is given.
import { createInterface } from "node:readline";

// An application is what a client is given to by its adapter.
class Application {
  stopped = new AbortController();

  constructor(command) {
    Object.assign(this, command);
  }
  #tell(what) {
    if (!this.stopped.signal.aborted) console.log(JSON.stringify({ cell: this.Cell, ...what }));
  }
  step(n) { this.#tell({ n }); }
  odd(what) { this.#tell({ odd: String(what).slice(0, 200) }); }
  last() { this.#tell({ last: true }); }
  over(why = "done") { this.#tell({ over: why instanceof Error ? `${why.name}: ${why.message}`.slice(0, 200) : why }); }

  // json takes an event as most applications do: what is no JSON is thrown back.
  json(data, type) {
    if (data === "[DONE]") return this.last();
    let value;
    try {
      value = JSON.parse(data);
    } catch (error) {
      this.odd(`${type ?? ""}|${data}`);
      throw error;
    }
    if (value?.n && value.text === "✅ 入Å") this.step(value.n);
    else if (value?.end) this.last();
    else this.odd(`${type ?? ""}|${data}`);
  }
  // text takes the steps from the text of a language model.
  text(text) {
    for (const word of text.split(" ")) {
      if (Number(word)) this.step(Number(word));
      else if (word) this.odd(word);
    }
  }
  get init() {
    return { method: this.Method, signal: this.stopped.signal, ...(this.Method === "POST" && { body: "{}", headers: { "Content-Type": "application/json" } }) };
  }
  // closing closes a client when the cell is over.
  closing(client) {
    this.stopped.signal.addEventListener("abort", () => client.close());
    return client;
  }
}

// Each adapter is what a page of documentation shows. It returns when its stream is over,
// or never.
const adapters = {
  async "openai 7"(app) {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ apiKey: "-", baseURL: app.URL, maxRetries: 0, fetch: (_, init) => fetch(app.URL, init) });
    const stream = await client.chat.completions.create({ model: "m", messages: [], stream: true }, { signal: app.stopped.signal });
    for await (const chunk of stream) {
      app.text(chunk.choices[0].delta.content);
      if (chunk.choices[0].finish_reason) app.last();
    }
  },

  async "AI SDK useChat"(app) {
    const { DefaultChatTransport } = await import("ai");
    const transport = new DefaultChatTransport({ api: app.URL });
    const stream = await transport.sendMessages({ trigger: "submit-message", chatId: "1", messages: [], abortSignal: app.stopped.signal });
    for await (const chunk of stream) {
      if (chunk.type === "text-delta") app.text(chunk.delta);
      else if (chunk.type === "finish") app.last();
      else if (!["start", "text-start", "text-end"].includes(chunk.type)) app.odd(JSON.stringify(chunk));
    }
  },

  async "eventsource 5"(app) {
    const { EventSource } = await import("eventsource");
    await native(app, new EventSource(app.URL));
  },

  async "eventsource-client"(app) {
    const { createEventSource } = await import("eventsource-client");
    app.closing(createEventSource({ url: app.URL, ...app.init, onMessage: ({ data, event }) => app.json(data, event) }));
    await never;
  },

  async "event-source-plus"(app) {
    const { EventSourcePlus } = await import("event-source-plus");
    const controller = new EventSourcePlus(app.URL, app.init).listen({ onMessage: ({ data, event }) => app.json(data, event) });
    app.closing({ close: () => controller.abort() });
    await never;
  },
};

const never = new Promise(() => {});

// native is an application with an EventSource, or what behaves like one.
function native(app, source) {
  app.closing(source);
  source.onmessage = ({ data }) => app.json(data);
  return new Promise((resolve, reject) => {
    source.onerror = () => { if (source.readyState === 2) reject(new Error("closed")); };
  });
}

const running = new Map();

createInterface({ input: process.stdin }).on("line", async (line) => {
  const command = JSON.parse(line);
  if (command.Stop) {
    running.get(command.Cell)?.stopped.abort();
    running.delete(command.Cell);
    return;
  }
  const app = new Application(command);
  running.set(command.Cell, app);
  try {
    await adapters[command.Client](app);
    app.over();
  } catch (error) {
    app.over(error instanceof Error ? error : new Error(String(error)));
  }
}).on("close", () => process.exit());

// What a client throws where nobody can catch it is the application's fault, too.
process.on("uncaughtException", (error) => console.log(`uncaught: ${error.stack}`.replaceAll("\n", " ").slice(0, 300)));
process.on("unhandledRejection", (error) => console.log(`unhandled: ${error?.stack ?? error}`.replaceAll("\n", " ").slice(0, 300)));
