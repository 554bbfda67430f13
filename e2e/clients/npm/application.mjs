// An Application is what a client is given to by its adapter.
export class Application {
  stopped = new AbortController();

  // command is what is to be run, and tell takes the reports.
  constructor(command, tell) {
    Object.assign(this, command);
    this.report = (what) => {
      if (!this.stopped.signal.aborted) tell({ cell: this.Cell, ...what });
    };
  }
  step(n) { this.report({ n }); }
  odd(what) { this.report({ odd: String(what).slice(0, 200) }); }
  last() { this.report({ last: true }); }
  over(why = "done") { this.report({ over: why instanceof Error ? `${why.name}: ${why.message}`.slice(0, 200) : why }); }

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
    return value;
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
  // native is an application with an EventSource, or what behaves like one.
  native(source, onmessage = (data) => this.json(data)) {
    this.closing(source);
    source.onmessage = ({ data }) => onmessage(data);
    return new Promise((_, reject) => {
      source.onerror = () => { if (source.readyState === 2) reject(new Error("closed")); };
    });
  }
  // run runs an adapter to its end, if it has one.
  async run(adapter) {
    try {
      await adapter(this);
      this.over();
    } catch (error) {
      this.over(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

export const never = new Promise(() => {});
