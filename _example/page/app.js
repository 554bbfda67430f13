// The page of the example, in the order of its cards. It keeps two streams
// open, and a third while a job runs: browsers allow six HTTP/1.1 connections
// to a host, over all tabs.

import { events } from "/sse.js";

const $ = (selector) => document.querySelector(selector);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

// --- Streams, and what came over them ----------------------------------------

// A Stream is an EventSource that opens anew where the native one gives up: at
// any status but 200, such as the 502 of a proxy while the server restarts. It
// keeps the last ID itself then, and gives it in the query.
class Stream {
  lastId = "";
  connections = 0;

  constructor(url, changed, listeners) {
    Object.assign(this, { url, changed, listeners });
  }

  open() {
    this.close();
    const url = new URL(this.url(), location);
    if (this.lastId) url.searchParams.set("lastEventId", this.lastId);
    this.source = new EventSource(url);
    this.source.onopen = () => {
      this.connections++;
      this.changed("live");
    };
    this.source.onerror = () => {
      this.changed("reconnecting");
      if (this.source.readyState === EventSource.CLOSED) {
        this.timer = setTimeout(() => this.open(), 3000);
      }
    };
    const listeners = { "ssegin.cursor": () => {}, ...this.listeners }; // a cursor has an ID and nothing else
    for (const [type, listener] of Object.entries(listeners)) {
      this.source.addEventListener(type, (e) => {
        this.lastId = e.lastEventId;
        listener(e);
      });
    }
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
  }
}

// A Ledger counts what is missing and what came twice, from numbers that go up
// by one in each series.
class Ledger {
  last = new Map();
  counts = { events: 0, reconnections: 0, missing: 0, duplicated: 0, resets: 0 };

  constructor(element) {
    this.element = element;
    this.draw();
  }

  count(series, n) {
    const last = this.last.get(series) ?? n - 1;
    if (n > last) {
      this.last.set(series, n);
      this.counts.missing += n - last - 1;
    } else {
      this.counts.duplicated++;
    }
    this.add("events");
  }

  add(what) {
    this.counts[what]++;
    this.pending ??= setTimeout(() => this.draw(), 50); // not once for each of a thousand
  }

  draw() {
    this.pending = undefined;
    this.element.replaceChildren(...Object.entries(this.counts).map(([what, count]) => {
      const row = element("div", {}, element("dt", {}, what), element("dd", {}, number.format(count)));
      row.dataset.count = what;
      row.dataset.bad = count > 0 && (what === "missing" || what === "duplicated");
      return row;
    }));
  }
}

function element(name, properties = {}, ...children) {
  const e = Object.assign(document.createElement(name), properties);
  e.append(...children);
  return e;
}

// send asks the server to do something, and throws what it says if it will not.
async function send(method, url, body) {
  const response = await fetch(url, {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  const answer = text ? JSON.parse(text) : {};
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

// noting shows in a note what goes wrong.
const noting = (note, action) => async (e) => {
  e?.preventDefault();
  try {
    await action(e);
  } catch (error) {
    note.textContent = error.message;
  }
};

// --- The page's one stream of the hub ----------------------------------------

const tab = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const hubNote = $("#hub-note");
const hubLedger = new Ledger($("#hub-ledger"));
let lost; // when the connection was, while it is

const hub = new Stream(
  () => "/events?" + new URLSearchParams({ tab, user: user(), room: room() }),
  (state) => {
    $("#state").dataset.state = $("#state").textContent = state;
    if (state !== "live") {
      lost ??= performance.now();
      return;
    }
    if (hub.connections > 1) hubLedger.add("reconnections");
    if (lost) hubNote.textContent = `Back after ${seconds(performance.now() - lost)}.`;
    lost = undefined;
  },
  {
    stats: (e) => {
      const sample = JSON.parse(e.data);
      hubLedger.count("stats", sample.n);
      draw(sample);
    },
    burst: (e) => {
      hubLedger.count("burst", JSON.parse(e.data).n);
      received++;
      arrived();
    },
    chat: (e) => {
      const message = JSON.parse(e.data);
      hubLedger.count("room:" + message.room, message.n);
      show(message);
    },
    private: (e) => {
      hubLedger.add("events");
      show(JSON.parse(e.data));
    },
    // There is a gap, and the server says so: what we know is not the
    // beginning of what is to come.
    "ssegin.reset": (e) => {
      const { reason, missed } = JSON.parse(e.data);
      hubLedger.last.clear();
      hubLedger.add("resets");
      hubNote.textContent = `The server says reset, because ${reasons[reason]}` + (missed < 0 ? "." : `: ${number.format(missed)} events are gone.`);
      hubNote.dataset.reset = reason;
    },
  },
);

const reasons = {
  epoch: "it has restarted (epoch)",
  expired: "what we missed has left its history (expired)",
  lagged: "we were too slow (lagged)",
  invalid: "our last ID is none of its own (invalid)",
  future: "our last ID is too new (future)",
};

$("#cut").onclick = noting(hubNote, async () => {
  await send("POST", `/cut?tab=${tab}`);
  hubNote.textContent = "Cut by the server. The browser comes back by itself.";
});

$("#burst").onclick = noting(hubNote, async () => {
  hubNote.textContent = "Publishing.";
  await burst();
});

$("#cut-burst").onclick = noting(hubNote, async () => {
  hubNote.textContent = "Cut, and publishing meanwhile.";
  await send("POST", `/cut?tab=${tab}`);
  await burst();
});

// burst resolves when the last of the thousand is here.
async function burst() {
  const start = performance.now();
  received = 0;
  const { last, microseconds } = await send("POST", "/burst");
  const published = `1,000 events published in ${(microseconds / 1000).toFixed(1)} ms`;
  hubNote.textContent = `${published}.`;
  await new Promise((resolve) => {
    arrived = () => hubLedger.last.get("burst") >= last && resolve();
    arrived();
  });
  hubNote.textContent = `${published}, ${number.format(received)} here after ${seconds(performance.now() - start)}.`;
}
let received = 0;
let arrived = () => {};

$("#crowd").onclick = noting(hubNote, async () => {
  const open = $("#crowd").getAttribute("aria-pressed") === "true";
  if (open) {
    await send("DELETE", "/crowd");
    crowdIsHere(false);
    return;
  }
  const { streams, seconds } = await send("POST", "/crowd");
  crowdIsHere(true);
  hubNote.textContent = `${streams} more streams follow the hub, for ${seconds} seconds.`;
  setTimeout(() => crowdIsHere(false), seconds * 1000);
});

function crowdIsHere(here) {
  $("#crowd").setAttribute("aria-pressed", here);
  $("#crowd").textContent = here ? "Close the 50 streams" : "Open 50 streams";
}

// --- Charts ------------------------------------------------------------------

const points = 90; // two a second: three quarters of a minute
const units = {
  streams: (v) => number.format(v),
  events_per_second: (v) => scaled(v, ["", " k", " M"]),
  bytes_per_second: (v) => scaled(v, [" B", " kB", " MB", " GB"]),
  delivery_lag_ms: (v) => `${v < 10 ? v.toFixed(2) : number.format(Math.round(v))} ms`,
};

const charts = [...document.querySelectorAll("[data-chart]")].map((figure) => {
  const name = figure.dataset.chart;
  const svg = figure.querySelector("svg");
  svg.setAttribute("viewBox", `0 0 ${points - 1} 40`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.innerHTML = '<path class="area"/><path class="line"/>';
  const [area, line] = svg.children;
  return { name, values: [], area, line, value: figure.querySelector("strong"), peak: figure.querySelector("small") };
});

function draw(sample) {
  for (const { name, values, area, line, value, peak } of charts) {
    values.push(sample[name]);
    if (values.length > points) values.shift();
    const top = Math.max(...values) || 1;
    const at = values.map((v, i) => `${points - values.length + i},${(38 - 34 * (v / top)).toFixed(1)}`);
    line.setAttribute("d", "M" + at.join("L"));
    area.setAttribute("d", `M${points - values.length},40L${at.join("L")}L${points - 1},40Z`);
    value.textContent = units[name](sample[name]);
    peak.textContent = `peak ${units[name](Math.max(...values))}`;
  }
}

function scaled(value, names) {
  let i = 0;
  for (; value >= 1000 && i < names.length - 1; i++) value /= 1000;
  return number.format(value < 10 ? value : Math.round(value)) + names[i];
}

// --- The tick ----------------------------------------------------------------

const tickLedger = new Ledger($("#tick-ledger"));
delete tickLedger.counts.resets; // no hub, no log, no gap to tell of
tickLedger.draw();

const ticks = new Stream(
  () => "/eventsource",
  (state) => {
    if (state !== "live") return;
    if (ticks.connections > 1) tickLedger.add("reconnections");
    const cells = Array.from({ length: 10 }, () => element("li"));
    const row = element("li", {}, element("span", {}, `connection ${ticks.connections}`), element("ol", {}, ...cells));
    $("#ticks").append(row);
    while ($("#ticks").children.length > 3) $("#ticks").firstElementChild.remove();
  },
  {
    tick: (e) => {
      tickLedger.count("tick", Number(e.lastEventId));
      $("#tick-block").textContent = `event: tick\nid: ${e.lastEventId}\ndata: ${e.data}`;
      const cell = $("#ticks > :last-child li:empty");
      cell?.append(e.lastEventId);
    },
  },
);

// A tab that nobody sees gives this connection back, and goes on where it was.
document.addEventListener("visibilitychange", () => (document.hidden ? ticks.close() : ticks.open()));

// --- Chat --------------------------------------------------------------------

const names = ["Ada", "Alan", "Barbara", "Dennis", "Grace", "Ken", "Margaret", "Radia"];
const anyName = () => names[Math.floor(Math.random() * names.length)];
const chatNote = $("#chat-note");

function user() {
  return $("#user").value.trim();
}

function room() {
  return $("#rooms :checked").value;
}

$("#user").value = new URLSearchParams(location.search).get("user") || sessionStorage.user || anyName();
named();
$("#user").onchange = () => {
  $("#user").value = user() || anyName();
  named();
  hub.open();
};

function named() {
  sessionStorage.user = user();
  $("#same-user").href = "?" + new URLSearchParams({ user: user() });
  $("#other-user").href = "?" + new URLSearchParams({ user: names.find((name) => name !== user()) });
}

// Another room is another set of topics. One last ID serves for them all, so
// nothing of the others is lost meanwhile.
$("#rooms").onchange = () => {
  $("#messages").replaceChildren();
  hubLedger.last.delete("room:" + room());
  hub.open();
};

$("#say").onsubmit = noting(chatNote, async () => {
  const [text, to] = [$("#text").value, $("#to").value];
  await send("POST", "/messages", { from: user(), to, room: room(), text });
  $("#text").value = "";
});

function show({ from, to, text, at }) {
  const time = new Date(at);
  const who = element("b", {}, from, to ? element("small", {}, ` to ${to}`) : "");
  const when = element("time", { dateTime: at }, time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  const item = element("li", {}, who, element("span", {}, text), when);
  item.classList.toggle("private", Boolean(to));
  item.classList.toggle("mine", from === user());
  const list = $("#messages");
  list.append(item);
  while (list.children.length > 100) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
  if (from !== user() && ![...$("#people").options].some((o) => o.value === from)) {
    $("#people").append(element("option", { value: from }));
  }
}

// --- Tokens by POST ----------------------------------------------------------

let asking; // the AbortController of the question that is being answered

$("#ask").onsubmit = async (e) => {
  e.preventDefault();
  asking?.abort();
  const mine = (asking = new AbortController());
  const [answer, note, start] = [$("#answer"), $("#ask-note"), performance.now()];
  let [tokens, complete] = [0, false];
  answer.textContent = "";
  answer.dataset.busy = "";
  $("#stop").disabled = false;
  try {
    const response = await fetch("/ask", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt: $("#prompt").value }),
      signal: mine.signal,
    });
    if (!response.ok) throw new Error((await response.json()).error);
    for await (const event of events(response.body)) {
      if (event.type === "message" && event.data === "[DONE]") complete = true;
      if (event.type !== "token") continue;
      answer.append(event.data);
      answer.scrollTop = answer.scrollHeight;
      if (++tokens === 1) note.textContent = `The first token after ${Math.round(performance.now() - start)} ms.`;
    }
    if (!complete) throw new Error("the stream has ended without [DONE]");
    note.textContent = `${tokens} tokens in ${seconds(performance.now() - start)}.`;
  } catch (error) {
    // An end that is none: a broken one (the server has died), or one without [DONE]
    // (it shuts down). A page that took that for the end would show half an answer.
    if (mine !== asking) return;
    if (mine.signal.aborted) note.textContent = `Stopped after ${tokens} tokens.`;
    else note.textContent = tokens > 0 ? `Cut off after ${tokens} tokens: ${error.message}.` : error.message;
  } finally {
    if (mine === asking) {
      asking = undefined;
      delete answer.dataset.busy;
      $("#stop").disabled = true;
    }
  }
};

$("#stop").onclick = () => asking?.abort();

// --- The job -----------------------------------------------------------------

let quiet; // counts the seconds since the last request

$("#start-job").onclick = noting($("#job-requests"), async () => {
  $("#start-job").disabled = true;
  clearInterval(quiet);
  for (const step of $("#job-steps").children) {
    delete step.dataset.reached;
    step.lastElementChild.textContent = "";
  }
  $("#job-requests").textContent = "";
  try {
    const { events } = await send("POST", "/jobs");
    await follow(events);
  } finally {
    $("#start-job").disabled = false;
  }
});

// follow resolves when the job's stream is over. Nothing here closes it: the
// server ends the topic, and the browser understands 204. A browser that is refused
// closes, too, and cannot say with which status: so only the job's own last event says
// that it is done. A job that the server has forgotten, because it was restarted, is
// lost.
function follow(url) {
  let done = false;
  return new Promise((resolve) => {
    const [source, start] = [new EventSource(url), performance.now()];
    const reach = (name, since = start) => {
      const step = $(`#job-steps [data-step=${name}]`);
      step.dataset.reached = "";
      step.lastElementChild.textContent = seconds(performance.now() - since);
    };
    source.onopen = () => reach("open");
    source.addEventListener("progress", progress);
    source.addEventListener("done", (e) => {
      progress(e);
      reach("done");
      done = true;
    });
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return; // on its way back
      if (!done) {
        $("#job-requests").textContent = "Lost: the server has no such job any more.";
        resolve();
        return;
      }
      reach("closed");
      const closed = performance.now();
      quiet = setInterval(() => {
        reach("quiet", closed);
        const requests = performance.getEntriesByName(source.url).length;
        $("#job-requests").textContent = `${requests} requests in all.`;
      }, 1000);
      resolve();
    };
  });
}

function progress(e) {
  const { percent, step } = JSON.parse(e.data);
  $("#job-progress").value = percent;
  $("#job-percent").textContent = `${percent} %`;
  $("#job-progress").title = step;
}

// --- Another origin ----------------------------------------------------------

$("#run-cors").onclick = () => {
  const allowed = new URL($("#frames").dataset.url);
  const other = new URL(allowed);
  other.hostname = "127.0.0.1";
  if (location.hostname !== allowed.hostname) {
    $("#frames").textContent = `Open this page as http://${allowed.hostname}:${location.port} to try this.`;
    return;
  }
  $("#frames").replaceChildren(...[allowed, other].map((url) => element("iframe", { src: url, title: `A page of ${url.origin}` })));
};

$("#curl").textContent = location.host;
hub.open();
if (!document.hidden) ticks.open();
