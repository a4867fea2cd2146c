// Search by meaning over the catalog: what is typed is asked for once typing pauses.

import { call } from "./api.js";
import { made, put } from "./words.js";

const PAUSE_MS = 150;
const FOUND_MAX = 12;
const WHERE_MAX = 4;

const at = (id) => document.getElementById(id);

export class Search {
  constructor() {
    this.box = at("search");
    this.asked = 0;
    this.box.addEventListener("input", () => this.later());
    this.box.addEventListener("focus", () => this.box.value.trim() && this.open(true));
    this.box.addEventListener("keydown", (event) => this.pressed(event));
    at("found").addEventListener("keydown", (event) => this.pressed(event));
    document.addEventListener("pointerdown", (event) => {
      if (!event.target.closest("#catalog")) this.open(false);
    });
    at("catalog").addEventListener("focusout", (event) => {
      if (event.relatedTarget && !event.relatedTarget.closest("#catalog")) this.open(false);
    });
  }

  focus() {
    this.box.focus();
    this.box.select();
  }

  // Down goes into what was found, up and Escape out of it.
  pressed(event) {
    const entries = [...at("found").querySelectorAll("li[tabindex]")];
    const place = entries.indexOf(document.activeElement);
    if (event.key === "Escape") {
      if (place < 0) this.clear();
      else this.box.focus();
    } else if (event.key === "ArrowDown") entries[Math.min(entries.length - 1, place + 1)]?.focus();
    else if (event.key === "ArrowUp" && place >= 0) (entries[place - 1] ?? this.box).focus();
    else if (event.key === "Enter" && place < 0) this.ask();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  clear() {
    this.box.value = "";
    this.later();
    this.box.blur();
  }

  later() {
    clearTimeout(this.timer);
    this.asked += 1; // what is on its way answers an older question
    if (this.box.value.trim()) this.timer = setTimeout(() => this.ask(), PAUSE_MS);
    else this.open(false);
  }

  async ask() {
    clearTimeout(this.timer);
    const words = this.box.value.trim();
    if (!words) return;
    this.asked += 1;
    const mine = this.asked;
    let [rows, said] = [[], ""];
    try {
      const found = await call("GET", `/v1/search?${new URLSearchParams({ q: words, limit: FOUND_MAX })}`);
      rows = found.rows;
      said = rows.length ? `${rows.length} found, the nearest first` : "Nothing means that";
      if (found.lacking) said = `${said}; without models: ${found.lacking}`;
    } catch (error) {
      said = error.message;
    }
    if (mine !== this.asked) return;
    at("found-list").replaceChildren(...rows.map(entry));
    at("found").scrollTop = 0;
    put(at("found-words"), said);
    this.open(true);
  }

  open(isOpen) {
    at("found").hidden = !isOpen;
    this.box.setAttribute("aria-expanded", String(isOpen));
  }
}

function entry(row) {
  const item = made("li");
  item.tabIndex = 0;
  const title = made("p");
  title.append(made("b", row.name), made("span", row.unit ? `${row.kind} · ${row.unit}` : row.kind, "kind"));
  item.append(title, made("p", row.meaning));
  const others = row.where.filter((name) => name !== row.name && !row.name.startsWith(`${name}.`));
  if (others.length) {
    const rest = others.length - WHERE_MAX;
    const names = others.slice(0, WHERE_MAX).join(", ") + (rest > 0 ? `, ${rest} more` : "");
    const where = made("p", `in ${names}`, "where");
    where.title = others.join(", ");
    item.append(where);
  }
  return item;
}
