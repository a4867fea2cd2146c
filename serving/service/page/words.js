// How amounts and times are said. Amounts come as text and are never more exact than they were.

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function amount(text, digitsMin = 2) {
  if (text === null || text === undefined) return "–";
  const [whole, rest = ""] = String(text).split(".");
  const trimmed = rest.replace(/0+$/, "").padEnd(digitsMin, "0");
  const sign = whole.startsWith("-") ? "-" : "";
  const said = sign + grouped.format(BigInt(whole.replace("-", "") || "0"));
  return trimmed ? `${said}.${trimmed}` : said;
}

// Rounds an amount to so many digits after its point.
export function rounded(text, digits) {
  const [whole, rest = ""] = String(text).split(".");
  if (rest.length <= digits) return String(text);
  const sign = whole.startsWith("-") ? "-" : "";
  const all = (BigInt(whole.replace("-", "") + rest.slice(0, digits + 1)) + 5n) / 10n;
  const said = String(all).padStart(digits + 1, "0");
  return digits ? `${sign}${said.slice(0, -digits)}.${said.slice(-digits)}` : sign + said;
}

// An amount whole where it fits, else with as many digits after its point as do.
// room: { width, digit, mark }, widths in pixels: of the place, of a digit, of a point or comma.
export function fitting(text, room) {
  const full = amount(text);
  const marks = full.match(/[.,]/g)?.length ?? 0;
  const beyond = (full.length - marks) * room.digit + marks * room.mark - room.width;
  if (!(beyond > 0)) return full;
  const digits = (full.split(".")[1] ?? "").length - Math.ceil(beyond / room.digit);
  return digits > 0 ? amount(rounded(text, digits), Math.min(2, digits)) : amount(rounded(text, 0), 0);
}

// A size as a person reads it: five digits that count.
export function size(text) {
  if (text === null || text === undefined) return "–";
  return Number(text).toLocaleString("en-US", { maximumSignificantDigits: 5 });
}

export function money(text) {
  if (text === null || text === undefined) return "–";
  return Number(text).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

export function signed(value, digits = 4) {
  const said = Number(value).toPrecision(digits);
  return value > 0 ? `+${said}` : said;
}

// A score between -1 and 1, in hundredths.
export function score(value) {
  const hundredths = Math.round(100 * value) / 100 + 0; // 0, and not -0
  return hundredths > 0 ? `+${hundredths.toFixed(2)}` : hundredths.toFixed(2);
}

export function age(us, nowUs) {
  if (!us) return "–";
  const s = Math.max(0, (nowUs - us) / 1e6);
  return seconds(s);
}

export function seconds(s) {
  if (s === null || s === undefined) return "–";
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 100) return `${Math.round(s)} s`;
  if (s < 6000) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

export function clock(us) {
  return new Date(us / 1000).toISOString().slice(11, 19);
}

export function nowUs() {
  return Date.now() * 1000;
}

// Sets a text only where it changed: an element that is left alone costs nothing.
export function put(element, text) {
  if (element.said !== text) {
    element.said = text;
    element.textContent = text;
  }
}

export function mark(element, name, value) {
  const known = `mark_${name}`;
  if (element[known] === value) return;
  element[known] = value;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

export function made(tag, text = "", words = "") {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  if (words) element.className = words;
  return element;
}
