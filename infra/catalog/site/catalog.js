"use strict";
// Search through what search.js lists. Everything is put in as text, never as markup.
(() => {
  const SHOWN_MAX = 30;
  const input = document.getElementById("search");
  const list = document.getElementById("found");
  const root = document.body.dataset.root;
  const entries = window.CATALOG.map((each) => ({
    ...each,
    low: each.name.toLowerCase(),
    all: `${each.name} ${each.text}`.toLowerCase(),
  }));
  let at = -1;

  const score = (entry, words) => {
    if (!words.every((word) => entry.all.includes(word))) return -1;
    const [first] = words;
    const end = entry.low.split(/[.: ]+/).pop();
    return (
      (entry.low === first ? 8 : 0) +
      (end === first ? 4 : 0) +
      (entry.low.startsWith(first) ? 2 : 0) +
      (words.every((word) => entry.low.includes(word)) ? 2 : 0) +
      (entry.kind === "dataset" ? 1 : 0)
    );
  };

  const part = (tag, text) => {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  };

  const line = (entry) => {
    const link = document.createElement("a");
    link.href = root + entry.page;
    link.append(part("i", entry.kind), part("b", entry.name), part("small", entry.text));
    const item = document.createElement("li");
    item.append(link);
    return item;
  };

  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    at = -1;
    list.hidden = words.length === 0;
    if (list.hidden) return;
    const found = entries
      .map((entry) => [score(entry, words), entry])
      .filter(([points]) => points >= 0)
      .sort((a, b) => b[0] - a[0])
      .slice(0, SHOWN_MAX)
      .map(([, entry]) => line(entry));
    const none = part("li", "Nothing found.");
    none.className = "none";
    list.replaceChildren(...(found.length ? found : [none]));
  };

  const move = (step) => {
    const links = [...list.querySelectorAll("a")];
    if (!links.length) return;
    at = (at + step + links.length) % links.length;
    links.forEach((link, n) => link.classList.toggle("at", n === at));
    links[at].scrollIntoView({ block: "nearest" });
  };

  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") move(1);
    else if (event.key === "ArrowUp") move(-1);
    else if (event.key === "Escape") {
      input.value = "";
      show();
    } else if (event.key === "Enter") {
      const link = list.querySelectorAll("a")[Math.max(at, 0)];
      if (link) link.click();
    } else return;
    event.preventDefault();
  });
  list.addEventListener("click", () => {
    list.hidden = true;
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".search")) list.hidden = true;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== input) {
      event.preventDefault();
      input.focus();
    }
  });
})();
