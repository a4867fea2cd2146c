// Everything beside prices and candles: lists that are told of as a whole, drawn when they change.

import { inFrame } from "./frame.js";
import { amount, clock, made, mark, money, put, seconds, signed, size } from "./words.js";
import { short, spread } from "./prices.js";

const LIST_MAX = 30;
const REASONS_MAX = 8;
const BAD_STATES = new Set(["rejected", "expired"]);

const HEADS = {
  orders: ["time", "ticker", "side", "kind", "filled", "state"],
  events: ["time", "ticker", "event", "what", "order"],
  signals: ["time", "ticker", "says", "confidence", "model", "as"],
};

const at = (id) => document.getElementById(id);

export class Panels {
  constructor() {
    this.known = { orders: [], events: [], signals: [] };
    this.log = "orders";
  }

  take(topics) {
    for (const [name, said] of Object.entries(topics)) {
      if (name in this.known) {
        this.known[name] = rows(said);
        if (name === this.log) inFrame("log", () => this.drawLog());
      } else if (this[name]) inFrame(name, () => this[name](said));
    }
  }

  choose(log) {
    this.log = log;
    put(at("log-title"), log[0].toUpperCase() + log.slice(1));
    for (const button of document.querySelectorAll("[data-log]")) {
      button.setAttribute("aria-pressed", String(button.dataset.log === log));
    }
    inFrame("log", () => this.drawLog());
  }

  drawLog() {
    const draw = { orders: order, events: event, signals: signal }[this.log];
    const head = made("tr");
    head.append(...HEADS[this.log].map((words) => made("th", words)));
    at("log-head").replaceChildren(...(this.known[this.log].length ? [head] : []));
    fill("log", this.known[this.log].slice(0, LIST_MAX).map((row) => line(draw(row))));
  }

  positions(said) {
    fill("positions", rows(said).map((row) => line([
      short(row), amount(row.size, 0), money(row.value), [money(row.unrealised), way(row.unrealised)],
    ])));
  }

  pnl(said) {
    const [row] = rows(said);
    const names = ["equity", "unrealised", "realised", "cash", "value", "fees"];
    fill("pnl", row ? names.map((name) => {
      const tile = made("div");
      const hasWay = name === "unrealised" || name === "realised";
      tile.append(made("dt", name), made("dd", money(row[name]), hasWay ? way(row[name]) : ""));
      return tile;
    }) : []);
  }

  alerts(said) {
    const list = rows(said);
    put(at("alerts-count"), list.length ? String(list.length) : "");
    fill("alerts", list.slice(0, LIST_MAX).map((row) => item(row.thing, row.fault, row.remedy)));
    if (said.fault) put(at("alerts-empty"), said.fault);
  }

  breaches(said) {
    const list = rows(said);
    put(at("breaches-count"), list.length ? String(list.length) : "");
    fill("breaches", list.slice(0, LIST_MAX).map((row) => item(
      `${row.rule.replaceAll("_", " ")} · ${short(row)}`, row.reason, `${clock(row.t)} · ${row.client_order_id}`,
    )));
  }

  lag(said) {
    fill("freshness", rows(said.freshness ?? []).map((row) => {
      const entry = made("li", row.dataset);
      const isLate = row.promise_s !== undefined && row.promise_s !== null && row.age_s > row.promise_s;
      entry.append(made("b", seconds(row.age_s), isLate ? "down" : "up"));
      return entry;
    }));
    put(at("dropped"), String(said.dropped ?? 0));
  }

  kill(said) {
    const banner = at("banner");
    banner.hidden = !said.killed;
    put(banner, said.killed ? `Trading is stopped since ${clock(said.at_us)} by ${said.by}${said.reason ? `: ${said.reason}` : ""}` : "");
    put(at("kill-open"), said.killed ? "Resume trading" : "Stop trading");
    at("kill-open").classList.toggle("danger", !said.killed);
    this.killed = said.killed;
  }

  book(row) {
    put(at("market-price"), amount(row.price));
    put(at("bid"), amount(row.bid_price));
    put(at("ask"), amount(row.ask_price));
    for (const name of ["bid", "ask"]) {
      mark(at(name), "title", amount(row[`${name}_price`]));
      mark(at(`${name}-size`), "title", amount(row[`${name}_size`], 0));
    }
    put(at("bid-size"), size(row.bid_size));
    put(at("ask-size"), size(row.ask_size));
    put(at("spread"), `spread ${spread(row)} bp`);
    const [bid, ask] = [Number(row.bid_size), Number(row.ask_size)];
    const most = Math.max(bid, ask);
    const share = (size) => `scaleX(${most ? (size / most).toFixed(3) : 0})`;
    document.querySelector("#book .bid .bar").style.transform = share(bid);
    document.querySelector("#book .ask .bar").style.transform = share(ask);
    put(at("imbalance"), most ? `${Math.round((100 * bid) / (bid + ask))} % bid` : "");
  }

  features(row) {
    const values = Object.entries(row?.values ?? {});
    put(at("features-time"), row ? `of ${clock(row.t).slice(0, 5)}` : "");
    const degraded = new Set(row?.degraded ?? []);
    fill("features-list", values.map(([name, value]) => {
      const entry = made("div");
      if (degraded.has(name)) mark(entry, "data-degraded", "");
      const label = made("dt", name);
      label.title = degraded.has(name) ? `${name}: over a drop` : name;
      entry.append(label, made("dd", value === null ? "–" : number(value)));
      return entry;
    }), "features-empty");
  }

  prediction(said, fault = "") {
    const words = at("signal-words");
    words.className = fault || !said ? "empty" : "";
    const made_ = said && `${signed(said.prediction)} at ${Math.round(100 * said.confidence)} % confidence`;
    put(words, fault || (said ? `${made_} · ${said.model} ${said.version}, ${said.role}${said.fallback ? ` (${said.fallback})` : ""}` : "No prediction asked for."));
    const parts = Object.entries(said?.contributions ?? {}).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const most = Math.abs(parts[0]?.[1] ?? 1) || 1;
    at("reasons").replaceChildren(...parts.slice(0, REASONS_MAX).map(([name, value]) => {
      const entry = made("div", "", "reason");
      const track = made("span", "", "track");
      const part = track.appendChild(made("span", "", `part ${value < 0 ? "down" : "up"}`));
      part.style.width = `${((50 * Math.abs(value)) / most).toFixed(1)}%`;
      entry.append(made("span", name), track, made("span", signed(value, 3)));
      return entry;
    }));
  }
}

function rows(said) {
  return Array.isArray(said) ? said : [];
}

function fill(id, entries, empty = `${id}-empty`) {
  at(id).replaceChildren(...entries);
  at(empty).hidden = entries.length > 0;
}

function line(cells) {
  const tr = made("tr");
  for (const cell of cells) {
    const [text, words] = Array.isArray(cell) ? cell : [cell, ""];
    tr.append(made("td", String(text), words));
  }
  return tr;
}

function item(title, text, small) {
  const entry = made("li");
  entry.append(made("b", title), made("span", text), made("br"), made("small", small));
  return entry;
}

function way(value) {
  const size = Number(value);
  return size > 0 ? "up" : size < 0 ? "down" : "";
}

function number(value) {
  const digits = Math.abs(value) >= 1000 ? 1 : 0;
  return digits ? value.toLocaleString("en-US", { maximumFractionDigits: digits }) : value.toPrecision(4);
}

function order(row) {
  const state = row.current_state.replaceAll("_", " ");
  const price = row.price === null ? row.kind : `${row.kind} ${amount(row.price)}`;
  const filled = `${amount(row.filled_size, 0)}/${amount(row.size, 0)}`;
  return [clock(row.updated_us ?? row.updated_time), short(row), [row.side, row.side === "buy" ? "up" : "down"],
    price, filled, [state, BAD_STATES.has(state) ? "down" : ""]];
}

function event(row) {
  const what = row.size ? `${amount(row.size, 0)}${row.price ? ` @ ${amount(row.price)}` : ""}` : row.reason ?? "";
  return [clock(row.t), short(row), row.event_type.replaceAll("_", " "), what, row.client_order_id];
}

function signal(row) {
  return [clock(row.made_us), short(row), [signed(row.prediction, 3), way(row.prediction)],
    `${Math.round(100 * row.confidence)} %`, `${row.model} ${row.version}`, row.fallback || row.role];
}
