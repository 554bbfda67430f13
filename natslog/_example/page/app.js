// The page of the example: one stream, a ledger of what came over it, and the
// buttons that break things.

const $ = (selector) => document.querySelector(selector);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

function element(name, properties = {}, ...children) {
  const e = Object.assign(document.createElement(name), properties);
  e.append(...children);
  return e;
}

// --- The ledger ----------------------------------------------------------------

// A Ledger counts what is missing and what came twice. Each process numbers its
// events from 1 in each of its lives ("runs"). Of a run that was going on before
// this page was there, any number may be the first; every later run of that
// process begins with 1. Where a run ends nobody knows: its process was killed.
// But what the log has acknowledged of it must be here.
class Ledger {
  runs = new Map(); // the next number of each
  names = new Set(); // processes of which a run was seen
  counts = { events: 0, reconnections: 0, missing: 0, duplicated: 0, resets: 0 };

  constructor(element) {
    this.element = element;
    this.draw();
  }

  // next is the number that must come next, or undefined when it may be any.
  next(from, run) {
    return this.runs.get(`${from} ${run}`) ?? (this.names.has(from) ? 1 : undefined);
  }

  number({ from, run, n }) {
    const next = this.next(from, run) ?? n;
    if (n < next) {
      this.counts.duplicated++;
    } else {
      this.counts.missing += n - next;
      this.runs.set(`${from} ${run}`, n + 1);
    }
    this.names.add(from);
    this.add("events");
  }

  acknowledged({ name, run, published }) {
    const next = this.next(name, run);
    if (next === undefined || published < next) return;
    this.counts.missing += published - next + 1;
    this.runs.set(`${name} ${run}`, published + 1);
  }

  // reset forgets all numbers: there is a gap, and the server says so.
  reset() {
    this.runs.clear();
    this.names.clear();
    this.add("resets");
  }

  add(what) {
    this.counts[what]++;
    this.pending ??= setTimeout(() => this.draw(), 50);
  }

  draw() {
    this.pending = undefined;
    this.element.replaceChildren(...Object.entries(this.counts).map(([what, count]) => {
      const row = element("div", {}, element("dt", {}, what), element("dd", {}, number.format(count)));
      row.dataset.count = what;
      row.dataset.bad = count > 0 && (what === "missing" || what === "duplicated" || what === "resets");
      return row;
    }));
  }
}

// --- The stream ----------------------------------------------------------------

const ledger = new Ledger($("#ledger"));
let connections = 0;
let lost; // when the connection was, while it is
let heard = performance.now(); // when the last event came
let longest = 0;

const listeners = {
  // No event of the hub, but a word of the process for this connection.
  "served-by": (data) => serve(data),
  number: (data) => {
    ledger.number(data);
    process(data.from).arrivals++;
  },
  processes: (all) => {
    for (const p of all) {
      ledger.acknowledged(p);
      process(p.name).status = p;
    }
    draw();
  },
  said: (data) => show(data),
  "ssegin.reset": ({ reason, missed }) => {
    ledger.reset();
    $("#note").textContent = `The server says reset: ${reason}, ${missed < 0 ? "it is not known how many" : missed} events are gone.`;
  },
};

// open opens the stream. An EventSource comes back by itself from whatever cuts
// it, with its last ID, but gives up at any answer but 200, such as a proxy's
// 502. Then it is opened anew, with the ID in the query.
let lastId = "";
function open() {
  const url = new URL("/events", location);
  if (lastId) url.searchParams.set("lastEventId", lastId);
  const source = new EventSource(url);
  source.onerror = () => {
    lost ??= performance.now();
    if (source.readyState === EventSource.CLOSED) setTimeout(open, 1000);
  };
  for (const [type, listener] of Object.entries(listeners)) {
    source.addEventListener(type, (e) => {
      lastId = e.lastEventId || lastId; // what served-by has none of
      if (type !== "served-by") {
        longest = Math.max(longest, performance.now() - heard);
        heard = performance.now();
      }
      listener(JSON.parse(e.data));
    });
  }
}

// serve notes who serves this tab from now on.
function serve({ name, pid }) {
  if (++connections > 1) ledger.add("reconnections");
  if (lost) $("#note").textContent = `Back after ${seconds(performance.now() - lost)}, at process ${name}.`;
  lost = undefined;
  $("#served").textContent = $("#served").dataset.process = name;
  $("#served-pid").textContent = `as pid ${pid}`;
  $("#trail").append(element("li", {}, name));
  while ($("#trail").children.length > 24) $("#trail").firstElementChild.remove();
  draw();
}

// --- The processes -------------------------------------------------------------

const processes = new Map();

// process returns the card of a process, which is made when it is first heard of.
function process(name) {
  if (processes.has(name)) return processes.get(name);
  const card = $("#process").content.firstElementChild.cloneNode(true);
  card.dataset.process = name;
  card.querySelector(".letter").textContent = name;
  card.querySelector("button").onclick = () => kill(name);
  const after = [...document.querySelectorAll(".process")].find((other) => other.dataset.process > name);
  $("main").insertBefore(card, after ?? $("#log"));
  const p = { card, arrivals: 0, history: [], status: undefined };
  processes.set(name, p);
  return p;
}

function draw() {
  for (const [name, { card, status }] of processes) {
    const serving = !lost && $("#served").dataset.process === name;
    card.toggleAttribute("data-serving", serving);
    if (!status) continue;
    card.dataset.state = status.state;
    const dead = status.state === "dead";
    card.querySelector(".condition").textContent = serving ? `${status.state}, serves this tab` : status.state;
    card.querySelector("code").textContent = dead ? "" : `pid ${status.pid}`;
    card.querySelector("[data-fact=age]").textContent = seconds(Math.max(0, Date.now() - Date.parse(status.since)));
    card.querySelector("[data-fact=streams]").textContent = number.format(status.streams);
    card.querySelector("[data-fact=published]").textContent = number.format(status.published);
    card.querySelector("button").textContent = dead ? "comes again soon" : `kill -9 ${status.pid}`;
    card.querySelector("button").disabled = dead;
  }
}

// chart moves each process's chart on by a quarter of a second: events that
// came meanwhile. After a silence they come all at once.
function chart() {
  for (const p of processes.values()) {
    p.history.push(p.arrivals);
    p.arrivals = 0;
    if (p.history.length > 80) p.history.shift();
    const top = Math.max(12, ...p.history);
    const at = p.history.map((n, i) => `${80 - p.history.length + i},${(38 - 34 * (n / top)).toFixed(1)}`);
    const [area, line] = p.card.querySelector("svg").children;
    line.setAttribute("d", "M" + at.join("L"));
    area.setAttribute("d", `M${80 - p.history.length},40L${at.join("L")}L79,40Z`);
  }
}

setInterval(() => {
  const silent = performance.now() - heard;
  const state = lost ? "reconnecting" : connections === 0 ? "connecting" : silent > 1500 ? "open, and silent" : "live";
  $("#state").dataset.state = $("#state").textContent = state;
  $("#silent").textContent = seconds(silent);
  $("#longest").textContent = seconds(Math.max(longest, silent));
  draw();
  chart();
}, 250);

// --- The buttons ---------------------------------------------------------------

async function send(url, body) {
  const response = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
  const text = await response.text();
  const answer = text.startsWith("{") ? JSON.parse(text) : {};
  if (!response.ok) throw Object.assign(new Error(answer.error ?? `status ${response.status}`), { status: response.status });
  return answer;
}

async function kill(name) {
  try {
    const { pid } = await send(`/kill/${name}`);
    $("#note").textContent = `kill -9 ${pid}: process ${name} is gone.`;
  } catch (error) {
    $("#note").textContent = error.message;
  }
}

$("#kill").onclick = () => kill($("#served").dataset.process);

$("#stop-nats").onclick = async () => {
  const before = connections;
  $("#stop-nats").disabled = true;
  $("#nats-note").textContent = "NATS is stopped.";
  try {
    const { seconds } = await send("/nats/stop");
    const streams = connections === before ? "This tab’s stream has stayed open." : "This tab’s stream was cut meanwhile, by something else.";
    $("#nats-note").textContent = `NATS was away for ${seconds} s. ${streams}`;
  } catch (error) {
    $("#nats-note").textContent = error.message;
  } finally {
    $("#stop-nats").disabled = false;
  }
};

// What is said is sent until somebody confirms it. Its ID says that it is the
// same each time.
$("#say").onsubmit = async (e) => {
  e.preventDefault();
  const id = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const saying = { id, text: $("#text").value };
  $("#text").value = "";
  for (let tries = 1; tries <= 20; tries++) {
    try {
      const { via } = await send("/say", saying);
      $("#say-note").textContent = `Published by process ${via}` + (tries > 1 ? `, at the ${tries}. try.` : ".");
      return;
    } catch (error) {
      $("#say-note").textContent = error.message;
      if (error.status < 500) return; // nobody will ever take it
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
};

function show({ text, via, at }) {
  const when = element("time", { dateTime: at }, new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }));
  const list = $("#messages");
  list.append(element("li", {}, element("b", { title: `by process ${via}` }, via), element("span", {}, text), when));
  while (list.children.length > 100) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}

$("#curl").textContent = location.host;
open();
