// The table of prices: a row for each instrument, changed cell by cell.

import { inFrame } from "./frame.js";
import { age, amount, fitting, made, mark, nowUs, put } from "./words.js";

const ROWS_MAX = 400; // more are found with the filter
const ROW_PX = 23; // as page.css has it
const BEYOND = 5; // rows that are drawn above and below those that are seen
const OLD_US = 5e6; // an older price is no price
const AMOUNTS = [1, 2, 3]; // columns of prices
const SIDES_PX = 9; // left and right of a cell's text, as page.css has it, and a pixel of grace

export class Prices {
  constructor(choose) {
    this.choose = choose;
    this.body = document.getElementById("prices-body");
    this.empty = document.getElementById("prices-empty");
    this.rows = new Map(); // id -> { data, tr, cells, shown }
    this.dirty = new Set();
    this.order = [];
    this.chosen = "";
    this.words = "";
    this.scroll = document.getElementById("prices-scroll");
    this.scroll.addEventListener("scroll", () => inFrame("cells", (more) => this.draw(more)), { passive: true });
    this.body.addEventListener("click", (event) => {
      const id = event.target.closest("tr")?.dataset.id;
      if (id) this.select(id);
    });
    this.height = this.scroll.clientHeight;
    new ResizeObserver(() => {
      this.height = this.scroll.clientHeight; // asked for here, where it costs no layout
      inFrame("cells", (more) => this.draw(more));
    }).observe(this.scroll);
    this.rooms = AMOUNTS.map(() => ({ width: Infinity, digit: 0, mark: 0 }));
    this.pen = document.createElement("canvas").getContext("2d");
    const heads = [...this.scroll.querySelectorAll("th")];
    const wide = new ResizeObserver(() => this.measure(heads));
    for (const n of AMOUNTS) wide.observe(heads[n]);
    setInterval(() => this.age(), 1000);
  }

  // Looks how wide a price may be; what is longer is rounded, and whole in its title.
  measure(heads) {
    const { fontSize, fontFamily } = getComputedStyle(this.scroll.querySelector("table"));
    this.rooms = AMOUNTS.map((n) => {
      this.pen.font = `${n === 1 ? 600 : 400} ${fontSize} ${fontFamily}`;
      const [digit, mark] = ["0", ","].map((text) => this.pen.measureText(text).width);
      return { width: heads[n].clientWidth - SIDES_PX, digit, mark };
    });
    for (const id of this.order) this.dirty.add(id);
    inFrame("cells", (more) => this.draw(more));
  }

  take(list) {
    let isNew = false;
    for (const data of list) {
      const row = this.rows.get(data.id);
      if (row) {
        if (data.price !== row.data.price) row.before = row.data.price;
        row.data = data;
      } else {
        this.rows.set(data.id, { data, before: null, tr: null, cells: [] });
        isNew = true;
      }
      this.dirty.add(data.id);
    }
    if (isNew) inFrame("rows", () => this.arrange());
    inFrame("cells", (more) => this.draw(more));
  }

  // Puts rows in their order; only where instruments are new, or the filter changed.
  arrange() {
    const words = this.words.toLowerCase();
    this.order = [...this.rows.keys()]
      .filter((id) => id.toLowerCase().includes(words))
      .sort((a, b) => short(this.rows.get(a).data) < short(this.rows.get(b).data) ? -1 : 1)
      .slice(0, ROWS_MAX);
    this.body.replaceChildren(...this.order.map((id) => this.made(id)));
    this.order.forEach((id, n) => { this.rows.get(id).place = n; });
    const venues = new Set(this.order.map((id) => id.slice(0, id.lastIndexOf("/"))));
    mark(this.body, "data-venues", venues.size > 1 ? "" : null);
    this.empty.hidden = this.rows.size > 0;
    for (const id of this.order) this.dirty.add(id);
    inFrame("cells", (more) => this.draw(more));
    if (!this.chosen && this.order.length) this.select(this.order[0]);
    else this.show();
  }

  made(id) {
    const row = this.rows.get(id);
    if (!row.tr) {
      row.tr = made("tr");
      row.tr.dataset.id = id;
      for (let n = 0; n < 6; n += 1) row.cells.push(row.tr.appendChild(made("td")));
      row.cells[0].append(short(row.data), made("i", row.data.exchange));
      row.cells[0].title = id;
    }
    return row.tr;
  }

  // Which places are seen, or nearly: the others are drawn when they are scrolled to.
  seen() {
    const first = Math.floor(this.scroll.scrollTop / ROW_PX) - BEYOND;
    return [first, first + Math.ceil(this.height / ROW_PX) + 2 * BEYOND];
  }

  draw(more) {
    const now = nowUs();
    const [first, last] = this.seen();
    for (const id of this.dirty) {
      const row = this.rows.get(id);
      if (!row.tr || row.place < first || row.place > last) continue;
      this.dirty.delete(id);
      drawRow(row, now, this.rooms);
      if (!more()) {
        inFrame("cells", (again) => this.draw(again));
        return;
      }
    }
  }

  age() {
    inFrame("ages", () => {
      const now = nowUs();
      const [first, last] = this.seen();
      for (const id of this.order.slice(Math.max(0, first), last + 1)) drawAge(this.rows.get(id), now);
    });
  }

  select(id) {
    this.chosen = id;
    this.show();
    this.choose(this.rows.get(id).data);
  }

  show() {
    for (const [id, row] of this.rows) {
      if (row.tr) mark(row.tr, "aria-selected", id === this.chosen ? "true" : null);
    }
  }

  move(by) {
    if (!this.order.length) return;
    const at = this.order.indexOf(this.chosen);
    const next = this.order[Math.min(this.order.length - 1, Math.max(0, at + by))];
    this.select(next);
    this.rows.get(next).tr.scrollIntoView({ block: "nearest" });
  }

  filter(words) {
    this.words = words;
    inFrame("rows", () => this.arrange());
  }
}

export function short(data) {
  return data.ticker.replace(/^X:/, "");
}

function drawRow(row, now, rooms) {
  const { data, cells, before } = row;
  [data.price, data.bid_price, data.ask_price].forEach((text, n) => drawPrice(cells[AMOUNTS[n]], text, rooms[n]));
  if (before !== null) {
    mark(cells[1], "data-way", Number(data.price) > Number(before) ? "up" : "down");
  }
  put(cells[4], spread(data));
  drawAge(row, now);
}

function drawPrice(cell, text, room) {
  const said = fitting(text, room);
  put(cell, said);
  const full = amount(text);
  mark(cell, "title", said === full ? null : full);
}

function drawAge(row, now) {
  if (!row?.tr) return;
  put(row.cells[5], age(row.data.t, now));
  mark(row.tr, "data-old", !row.data.t || now - row.data.t > OLD_US ? "" : null);
}

export function spread(data) {
  const [bid, ask] = [Number(data.bid_price), Number(data.ask_price)];
  if (!bid || !ask || bid <= 0) return "–";
  const points = (20000 * (ask - bid)) / (ask + bid);
  return points.toFixed(points < 100 ? 1 : 0);
}
