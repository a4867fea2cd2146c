// The page put together: what is heard goes to its part, keys and clicks go to theirs.

import { call, key } from "./api.js";
import { Chart } from "./chart.js";
import { inFrame, lately, takeMeasured } from "./frame.js";
import { Panels } from "./panels.js";
import { Prices, short } from "./prices.js";
import { Search } from "./search.js";
import { Stream } from "./stream.js";
import { age, nowUs, put } from "./words.js";

const TOPICS = ["orders", "events", "positions", "pnl", "breaches", "signals", "sentiment", "alerts", "lag", "kill"];
const LISTS = new Set(["type", "prices", "bars", "gone", "features"]);
const at = (id) => document.getElementById(id);

theme(localStorage.getItem("ticklake.theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
const panels = new Panels();
const chart = new Chart(at("chart"));
const prices = new Prices(choose);
const search = new Search();
const features = new Map(); // id -> newest row
let chosen = null;
let interval = "1m";
let receivedUs = 0;
let word = null; // the stop that the open dialog ends; null: it stops

const stream = new Stream({
  update,
  state: (mood, words) => {
    at("link").dataset.mood = mood;
    put(at("link"), words);
  },
  asked: () => ({ tickers: "*", topics: TOPICS }),
  again: () => draw(true), // bars that closed meanwhile are told to nobody again
});

function update(said) {
  if (said.prices) {
    prices.take(said.prices);
    for (const row of said.prices) {
      if (row.r > receivedUs) receivedUs = row.r;
      if (row.id === chosen?.id) {
        chosen = row;
        chart.price(row);
        inFrame("book", () => panels.book(chosen));
      }
    }
  }
  if (said.bars || said.gone) chart.take(said.bars ?? [], said.gone ?? []);
  for (const row of said.features ?? []) {
    features.set(row.id, row);
    if (row.id === chosen?.id) inFrame("features", () => panels.features(row));
  }
  const topics = {};
  for (const name of Object.keys(said)) if (!LISTS.has(name)) topics[name] = said[name];
  panels.take(topics);
}

function choose(row) {
  chosen = row;
  put(at("market-title"), `${short(row)} · ${row.exchange} ${row.market}`);
  panels.book(row);
  panels.prediction(null);
  panels.features(features.get(row.id));
  draw();
  if (!features.has(row.id)) askFeatures(row);
}

async function askFeatures(row) {
  const where = new URLSearchParams({ exchange: row.exchange, market: row.market });
  try {
    const said = await call("GET", `/v1/features/${encodeURIComponent(row.ticker)}?${where}`);
    if (said.newest && !features.has(row.id)) features.set(row.id, said.newest);
  } catch {
    return; // the next minute brings them
  }
  if (row.id === chosen?.id) panels.features(features.get(row.id));
}

function draw(isAgain = false) {
  if (chosen) chart.show(chosen, interval, isAgain).catch(() => {}); // the state of the link says why
}

function choosesInterval(name) {
  interval = name;
  for (const button of document.querySelectorAll("[data-interval]")) {
    button.setAttribute("aria-pressed", String(button.dataset.interval === name));
  }
  draw();
}

async function predict() {
  if (!chosen) return;
  if (!key.get()) {
    panels.prediction(null, "A prediction needs a key: Shift+A");
    return;
  }
  const { ticker, exchange, market } = chosen;
  try {
    panels.prediction(await call("POST", "/v1/predict", { ticker, exchange, market, explain: true }));
  } catch (error) {
    panels.prediction(null, error.message);
  }
}

function openKill() {
  const stops = !panels.killed;
  word = stops ? null : panels.stopped;
  put(at("kill-title"), stops ? "Stop all trading?" : "Let trading go on?");
  put(at("kill-words"), stops
    ? "Every working order is cancelled, and none is let out until an admin lets trading go on."
    : "Orders are let out again. This needs a key of role admin.");
  put(at("kill-yes"), stops ? "Stop trading" : "Resume trading");
  at("kill-yes").classList.toggle("danger", stops);
  put(at("kill-fault"), key.get() ? "" : "This needs a key: Shift+A");
  at("kill-reason").value = "";
  at("kill").showModal();
}

async function sayKill() {
  const reason = at("kill-reason").value;
  at("kill-yes").disabled = true;
  try {
    panels.kill(await (word ? call("POST", "/v1/resume", { at_us: word.at_us, reason }) : call("POST", "/v1/kill", { reason })));
    at("kill").close();
  } catch (error) {
    put(at("kill-fault"), error.message);
  } finally {
    at("kill-yes").disabled = false;
  }
}

function useKey(words) {
  key.set(words.trim());
  at("key-words").value = "";
  at("key").close();
  put(at("key-open"), key.get() ? "Key ✓" : "Key");
  stream.connect();
}

function theme(name) {
  document.documentElement.dataset.theme = name;
}

function turnTheme() {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("ticklake.theme", name);
  theme(name);
  chart.paint();
}

setInterval(() => {
  const { count, mean, max } = takeMeasured();
  inFrame("vitals", () => {
    put(at("tick-age"), age(receivedUs, nowUs()));
    put(at("instruments"), String(prices.rows.size));
    if (count) put(at("frame-ms"), `${mean.toFixed(1)} / ${max.toFixed(1)} ms`);
  });
}, 1000);

const KEYS = {
  ArrowDown: () => prices.move(1), j: () => prices.move(1),
  ArrowUp: () => prices.move(-1), k: () => prices.move(-1),
  "/": () => at("filter").focus(), c: () => search.focus(),
  1: () => choosesInterval("1m"), 2: () => choosesInterval("5m"), 3: () => choosesInterval("1h"),
  o: () => panels.choose("orders"), e: () => panels.choose("events"), s: () => panels.choose("signals"),
  a: () => panels.nextAccount(), p: predict, t: turnTheme, K: openKill, A: () => at("key").showModal(), "?": () => at("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input");
  if (isTyping && event.key === "Escape" && event.target.id === "filter") {
    event.target.value = "";
    prices.filter("");
    event.target.blur();
  }
  if (isTyping && event.target.id === "key-words" && event.key === "Enter") {
    event.preventDefault();
    useKey(event.target.value);
  }
  if (isTyping && event.key === "Enter" && event.target.id === "kill-reason") event.preventDefault();
  const work = KEYS[event.key];
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || !work) return;
  event.preventDefault();
  work();
});
at("filter").addEventListener("input", (event) => prices.filter(event.target.value));
at("theme").addEventListener("click", turnTheme);
at("why").addEventListener("click", predict);
at("kill-open").addEventListener("click", openKill);
at("kill-yes").addEventListener("click", sayKill);
at("key-open").addEventListener("click", () => at("key").showModal());
at("key-yes").addEventListener("click", () => useKey(at("key-words").value));
at("key-forget").addEventListener("click", () => useKey(""));
at("help-open").addEventListener("click", () => at("help").showModal());
for (const button of document.querySelectorAll("[data-interval]")) {
  button.addEventListener("click", () => choosesInterval(button.dataset.interval));
}
for (const button of document.querySelectorAll("[data-log]")) {
  button.addEventListener("click", () => panels.choose(button.dataset.log));
}
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
put(at("key-open"), key.get() ? "Key ✓" : "Key");

window.ticklake = { lately, stream, prices, chart }; // for whoever looks from the console
