// Runs one client of those that live in a page: the command comes with the address.
import { Application, never } from "./application.mjs";

const news = [];
let telling = false;
async function tell(what) {
  news.push(what);
  if (telling) return;
  telling = true;
  while (news.length > 0) {
    await fetch("/told", { method: "POST", body: JSON.stringify(news.splice(0)) });
  }
  telling = false;
}

// script loads a package that is no module.
function script(path) {
  return new Promise((resolve, reject) => {
    const element = document.createElement("script");
    Object.assign(element, { src: `/npm/${path}`, onload: resolve, onerror: reject });
    document.head.append(element);
  });
}

const microsoft = () => import("@microsoft/fetch-event-source");
class Stop extends Error {}

const adapters = {
  "EventSource in Chromium": (app) => app.native(new EventSource(app.URL)),

  async "fetch-event-source"(app) {
    const { fetchEventSource } = await microsoft();
    await fetchEventSource(app.URL, {
      ...app.init,
      onmessage: ({ data, event }) => { try { app.json(data, event); } catch { /* it looks at what it knows */ } },
    });
  },

  async "fetch-event-source, JSON.parse"(app) {
    const { fetchEventSource } = await microsoft();
    await fetchEventSource(app.URL, { ...app.init, onmessage: ({ data, event }) => app.json(data, event) });
  },

  async "fetch-event-source, onclose throws"(app) {
    const { fetchEventSource } = await microsoft();
    await fetchEventSource(app.URL, {
      ...app.init,
      async onopen({ ok, status }) {
        if (status === 204) throw new Stop("complete");
        if (status === 410) throw new Stop("too much was missed");
        if (!ok) throw new Error(`status ${status}`);
      },
      onmessage: ({ data, event }) => app.json(data, event),
      onclose() { throw new Error("not complete"); },
      onerror(error) { if (error instanceof Stop) throw error; },
    });
  },

  async "fetch-event-source, onerror throws"(app) {
    const { fetchEventSource } = await microsoft();
    await fetchEventSource(app.URL, {
      ...app.init,
      openWhenHidden: true,
      onmessage: ({ data, event }) => app.json(data, event),
      onerror(error) { throw error; },
    });
  },

  async "event-source-polyfill"(app) {
    await script("event-source-polyfill/src/eventsource.min.js");
    await app.native(new EventSourcePolyfill(app.URL));
  },

  async "reconnecting-eventsource"(app) {
    const { default: ReconnectingEventSource } = await import("reconnecting-eventsource");
    await app.native(new ReconnectingEventSource(app.URL));
  },

  async "reconnecting-eventsource, close()"(app) {
    const { default: ReconnectingEventSource } = await import("reconnecting-eventsource");
    const source = new ReconnectingEventSource(app.URL);
    await app.native(source, (data) => { if (app.json(data)?.end) source.close(); });
  },

  "sse.js": (app) => sse(app, {}),
  "sse.js, autoReconnect": (app) => sse(app, { autoReconnect: true, reconnectDelay: 500 }),
  "sse.js, autoReconnect, close()": (app) => sse(app, { autoReconnect: true, reconnectDelay: 500 }, (source) => source.close()),

  "react-native-sse": (app) => reactNative(app, { pollingInterval: 500 }),
  "react-native-sse, pollingInterval: 0": (app) => reactNative(app, { pollingInterval: 0 }),
  "react-native-sse, open() and close()": (app) => reactNative(app, { pollingInterval: 500 }, (source, status) => {
    if (status === 204 || status === 410) source.close();          // complete, or too much was missed
    else if (status === 0) setTimeout(() => source.open(), 1000);  // it was cut, and does not come back by itself
  }),

  "htmx 2": (app) => htmx2(app, ""),
  "htmx 2, sse-close": (app) => htmx2(app, `sse-close="ssegin.end"`),
  "htmx 4": (app) => htmx4(app, ""),
  "htmx 4, hx-sse:close": (app) => htmx4(app, `hx-sse:close="ssegin.end"`),

  "Datastar": datastar,
  "Datastar, broken ends": datastar,

  "VueUse, autoReconnect": (app) => vueUse(app, () => {}),
  "VueUse, close()": (app) => vueUse(app, (close) => close()),
};

async function datastar(app) {
  document.addEventListener("datastar-sse", ({ detail: { type, argsRaw } }) => {
    switch (type) {
      case "datastar-merge-signals": {
        const n = Number(/n: (-?\d+)/.exec(argsRaw.signals)[1]);
        return n > 0 ? app.step(n) : app.last();
      }
      case "started": case "retrying": return;
      case "finished": return app.over();
      default: app.over(new Error(`${type} ${JSON.stringify(argsRaw)}`));
    }
  });
  const verb = app.Method.toLowerCase();
  document.body.innerHTML = `<div data-signals="{n: 0}" data-on-load="@${verb}('${app.URL}')" data-text="$n"></div>`;
  await import("/npm/@starfederation/datastar/dist/datastar.js");
  await never;
}

async function sse(app, options, atEnd = () => {}) {
  const { SSE } = await import("sse.js");
  const source = app.closing(new SSE(app.URL, { ...options, ...(app.Method === "POST" && { payload: "{}", method: "POST" }) }));
  let complete = false;
  source.addEventListener("message", ({ data }) => {
    if (!(complete = app.json(data)?.end)) return;
    atEnd(source);
  });
  await new Promise((resolve, reject) => {
    source.addEventListener("abort", () => complete ? resolve() : reject(new Error("abort")));
    source.addEventListener("error", (e) => { if (!options.autoReconnect) reject(new Error(`error ${e.responseCode}`)); });
    source.addEventListener("readystatechange", (e) => { if (e.readyState === 2 && !options.autoReconnect) resolve(); });
  });
}

async function reactNative(app, options, look = () => {}) {
  const { default: EventSource } = await import("react-native-sse");
  const source = app.closing(new EventSource(app.URL, { method: app.Method, ...(app.Method === "POST" && { body: "{}" }), ...options }));
  source.addEventListener("message", ({ data }) => app.json(data));
  source.addEventListener("open", () => look(source, source._xhr.status));
  await new Promise((_, reject) => source.addEventListener("error", ({ message, xhrStatus }) => {
    look(source, xhrStatus);
    if (!options.pollingInterval) reject(new Error(`${xhrStatus} ${message}`));
  }));
}

async function htmx2(app, attributes) {
  await script("htmx2/dist/htmx.min.js");
  await script("htmx-ext-sse/dist/sse.min.js");
  document.body.innerHTML = `<div hx-ext="sse" sse-connect="${app.URL}" sse-swap="message" ${attributes}></div>`;
  const element = document.body.firstChild;
  element.addEventListener("htmx:sseMessage", ({ detail: { data } }) => html(app, data));
  element.addEventListener("htmx:sseClose", () => { app.last(); app.over(); });
  htmx.process(document.body);
  await never;
}

async function htmx4(app, attributes) {
  await script("htmx.org/dist/htmx.min.js");
  await script("htmx.org/dist/ext/hx-sse.min.js");
  document.body.innerHTML = `<div hx-sse:connect="${app.URL}" ${attributes}></div>`;
  const element = document.body.firstChild;
  element.addEventListener("htmx:sse:after:message", ({ detail: { message } }) => {
    if (!message.event) html(app, element.innerHTML);
  });
  element.addEventListener("htmx:sse:close", ({ detail: { reason } }) => {
    if (reason === "message") app.last();
    app.over();
  });
  htmx.process(document.body);
  await never;
}

function html(app, text) {
  const step = /^<i>(\d+)<\/i>$/.exec(text);
  if (step) app.step(Number(step[1]));
  else app.odd(text);
}

async function vueUse(app, atEnd) {
  const { useEventSource } = await import("@vueuse/core");
  const { watch, effectScope } = await import("vue");
  effectScope().run(() => {
    const { data, close } = useEventSource(app.URL, [], { autoReconnect: { delay: 500 } });
    watch(data, (text) => { if (text && app.json(text)?.end) atEnd(close); }, { flush: "sync" });
  });
  await never;
}

const command = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const app = new Application(command, tell);
addEventListener("error", ({ message }) => app.report({ thrown: message }));
await app.run(adapters[command.Client]);
