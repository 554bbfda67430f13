// What a page of another origin can read of /greetings, asked four times: by
// EventSource and by fetch, without credentials and with. One after the other,
// to leave the browser's connections to others.

import { events } from "/sse.js";

const url = document.body.dataset.target + "/greetings";
document.querySelector("#origin").textContent = location.origin;

const tries = {
  "eventsource-omit": () => withEventSource(false),
  "eventsource-include": () => withEventSource(true),
  "fetch-omit": () => withFetch("omit"),
  "fetch-include": () => withFetch("include"),
};

for (const [name, ask] of Object.entries(tries)) {
  const cell = document.querySelector(`[data-try="${name}"]`);
  const visitors = await ask();
  cell.dataset.read = visitors.length;
  cell.textContent = visitors.length
    ? `${visitors.length} events, as ${visitors[0] ? "visitor " + visitors[0] : "a stranger"}`
    : "refused: nothing was read";
}

// withEventSource resolves with who the server said we are, in each event.
function withEventSource(withCredentials) {
  return new Promise((resolve) => {
    const visitors = [];
    const source = new EventSource(url, { withCredentials });
    source.addEventListener("greeting", (e) => visitors.push(JSON.parse(e.data).visitor));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) resolve(visitors); // refused, or complete
    });
  });
}

// withFetch does the same. Its Last-Event-ID makes the browser ask for leave
// first, with a preflight.
async function withFetch(credentials) {
  const visitors = [];
  try {
    const response = await fetch(url, { credentials, headers: { "Last-Event-ID": "0" } });
    for await (const e of events(response.body)) {
      if (e.type === "greeting") visitors.push(JSON.parse(e.data).visitor);
    }
  } catch {
    // The browser says no more than that it failed.
  }
  return visitors;
}
