// Everything beside prices and candles: lists that are told of as a whole, drawn when they change.

import { inFrame } from "./frame.js";
import { amount, clock, made, mark, money, put, score, seconds, signed, size } from "./words.js";
import { short, spread } from "./prices.js";

const LIST_MAX = 30;
const REASONS_MAX = 8;
const BAD_STATES = new Set(["rejected", "expired"]);

const ALL = "all";
const HEADS = {
  pnl: ["account", "equity", "unrealised", "realised", "cash"],
  positions: ["ticker", "size", "value", "unrealised"],
  orders: ["time", "ticker", "side", "kind", "filled", "state"],
  events: ["time", "ticker", "event", "what", "order"],
  signals: ["time", "ticker", "says", "confidence", "model", "as"],
};

const at = (id) => document.getElementById(id);

export class Panels {
  constructor() {
    this.known = { orders: [], events: [], signals: [] };
    this.held = { positions: [], pnl: [] };
    this.log = "orders";
    this.accounts = [];
    this.account = ""; // the one that is shown; none: all of them, each named where there are several
  }

  take(topics) {
    for (const [name, said] of Object.entries(topics)) {
      if (name in this.known) {
        this.known[name] = rows(said);
        if (name === this.log) inFrame("log", () => this.drawLog());
      } else if (name in this.held) {
        // kept at once: another drawing in the same frame would take the place of one that keeps it
        this.held[name] = rows(said);
        if (name === "pnl") this.meet(this.held.pnl.map((row) => row.account));
        inFrame(name, () => (name === "pnl" ? this.drawPnl() : this.drawPositions()));
      } else if (this[name]) inFrame(name, () => this[name](said));
    }
  }

  // Names the accounts there are; a chooser is there where they are several.
  meet(names) {
    const found = [...new Set(names)].sort();
    if (found.join() === this.accounts.join()) return;
    this.accounts = found;
    if (!found.includes(this.account)) this.account = "";
    this.drawAccounts();
  }

  show(account) {
    this.account = account;
    this.drawAccounts();
  }

  nextAccount() {
    const every = ["", ...this.accounts];
    if (this.accounts.length > 1) this.show(every[(every.indexOf(this.account) + 1) % every.length]);
  }

  drawAccounts() {
    at("accounts").hidden = this.accounts.length < 2;
    at("accounts").replaceChildren(...["", ...this.accounts].map((name) => {
      const button = made("button", name || ALL);
      button.type = "button";
      button.title = name || "Every account (a: the next)";
      button.dataset.account = name;
      button.setAttribute("aria-pressed", String(name === this.account));
      button.addEventListener("click", () => this.show(name));
      return button;
    }));
    inFrame("pnl", () => this.drawPnl());
    inFrame("positions", () => this.drawPositions());
    inFrame("log", () => this.drawLog());
  }

  get isMixed() {
    return !this.account && this.accounts.length > 1;
  }

  // The rows of what is shown, each cell list with its account before it where they are mixed.
  lines(list, draw, max = list.length) {
    const shown = list.filter((row) => !this.account || (row.account ?? this.account) === this.account);
    return shown.slice(0, max).map((row) => line([...this.named(row), ...draw(row)]));
  }

  named(row) {
    return this.isMixed && row.account !== undefined ? [[row.account, "account"]] : [];
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
    const list = this.known[this.log];
    head("log-head", HEADS[this.log], list.length ? this.named(list[0]) : null);
    fill("log", this.lines(list, draw, LIST_MAX));
  }

  drawPositions() {
    const list = this.held.positions;
    head("positions-head", HEADS.positions, list.length ? this.named(list[0]) : []);
    fill("positions", this.lines(list, (row) => [
      short(row), amount(row.size, 0), money(row.value), [money(row.unrealised), way(row.unrealised)],
    ]));
  }

  drawPnl() {
    const list = this.held.pnl;
    head("pnl-head", HEADS.pnl, this.isMixed ? [] : null);
    at("pnl-rows").replaceChildren(...(this.isMixed ? list.map((row) => line([
      [row.account, "account"], money(row.equity), [money(row.unrealised), way(row.unrealised)],
      [money(row.realised), way(row.realised)], money(row.cash),
    ])) : []));
    at("pnl").hidden = this.isMixed;
    const row = list.find((each) => !this.account || each.account === this.account);
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

  // Scores from -1, bearish, to 1, bullish: an asset's of each source.
  sentiment(said) {
    fill("sentiment", rows(said).slice(0, LIST_MAX).map((row) => {
      const entry = made("li", row.asset);
      const sure = row.confidence === null ? "" : `, confidence ${Number(row.confidence).toFixed(2)}`;
      entry.title = `of ${clock(row.event_time_us)}${sure}`;
      entry.append(made("small", row.source), track(Number(row.sentiment_score)));
      entry.append(made("b", score(row.sentiment_score), way(row.sentiment_score)));
      return entry;
    }));
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
    this.stopped = said;
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
      entry.append(made("span", name), track(value / most), made("span", signed(value, 3)));
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

// The head of a table; before: cells of a row before its own columns; null: no head.
function head(id, names, before) {
  const tr = made("tr");
  const all = before ? [...before.map(([, name]) => name), ...names] : [];
  tr.append(...all.map((words) => {
    const th = made("th", words);
    th.scope = "col";
    return th;
  }));
  at(id).replaceChildren(...(all.length ? [tr] : []));
}

// A bar from the middle, to the right for what is above zero; share: of its half, -1 to 1.
function track(share) {
  const found = made("span", "", "track");
  const part = found.appendChild(made("span", "", `part ${share < 0 ? "down" : "up"}`));
  part.style.width = `${(50 * Math.min(1, Math.abs(share))).toFixed(1)}%`;
  return found;
}

function line(cells) {
  const tr = made("tr");
  for (const cell of cells) {
    const [text, words] = Array.isArray(cell) ? cell : [cell, ""];
    const td = tr.appendChild(made("td", String(text), words));
    if (words === "account") td.title = text;
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
