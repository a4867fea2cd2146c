// Candles of the chosen instrument: the bars that the service has, and the one that grows now.

import { CandlestickSeries, createChart, HistogramSeries } from "./vendor/lightweight-charts-5.2.1.mjs";
import { call } from "./api.js";
import { inFrame } from "./frame.js";

const WIDTH_S = { "1m": 60, "5m": 300, "1h": 3600 };
const BARS_MAX = 600;
const CANDLE_MS = 100; // least time between two looks of the candle that grows

export class Chart {
  constructor(element) {
    this.chart = createChart(element, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: "system-ui, 'DejaVu Sans', sans-serif" },
      timeScale: { timeVisible: true, rightOffset: 4, minBarSpacing: 2 },
      rightPriceScale: { borderVisible: false },
      crosshair: { mode: 0 },
    });
    this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.volumes = this.chart.addSeries(HistogramSeries, {
      priceFormat: { type: "volume" }, priceScaleId: "", lastValueVisible: false, priceLineVisible: false,
    });
    this.volumes.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.22 } });
    this.bars = new Map(); // seconds -> bar
    this.live = null;
    this.asked = 0;
    this.paint();
  }

  paint() {
    const css = getComputedStyle(document.documentElement);
    const of = (name) => css.getPropertyValue(name).trim();
    this.colours = { up: of("--up"), down: of("--down") };
    this.chart.applyOptions({
      layout: { background: { color: of("--card") }, textColor: of("--faint") },
      grid: { vertLines: { color: of("--line") }, horzLines: { color: of("--line") } },
      timeScale: { borderColor: of("--line") },
    });
    const { up, down } = this.colours;
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.redraw();
  }

  // isAgain: the same as before; what is drawn stays until its bars are there, and so does the view.
  async show(instrument, interval, isAgain = false) {
    const asked = ++this.asked;
    this.instrument = instrument;
    this.interval = interval;
    if (!isAgain) {
      this.bars = new Map();
      this.live = null;
    }
    const where = new URLSearchParams({ exchange: instrument.exchange, market: instrument.market });
    const path = `/v1/bars/${encodeURIComponent(instrument.ticker)}`;
    const [whole, minutes] = await Promise.all([
      call("GET", `${path}?${where}&interval=${interval}&limit=${BARS_MAX / 2}`),
      interval === "1m" ? { bars: [] } : call("GET", `${path}?${where}&interval=1m&limit=60`),
    ]);
    if (asked !== this.asked) return; // another was chosen meanwhile
    const newest = (whole.bars.at(-1)?.t ?? 0) / 1e6;
    for (const time of [...this.bars.keys()]) if (time <= newest) this.bars.delete(time); // some may have gone
    for (const bar of whole.bars) this.keep(bar);
    const start = this.startOf(Date.now() / 1000);
    for (const bar of minutes.bars) if (bar.t / 1e6 >= start) this.grow(Number(bar.open), Number(bar.high), Number(bar.low), Number(bar.close), start);
    if (instrument.price) this.price(instrument);
    this.precision(instrument.price ?? whole.bars.at(-1)?.close);
    this.redraw();
    if (!isAgain) this.chart.timeScale().resetTimeScale();
  }

  precision(text) {
    if (!text) return;
    const value = Number(text);
    const precision = value >= 1000 ? 2 : value >= 1 ? 4 : 6;
    this.candles.applyOptions({ priceFormat: { type: "price", precision, minMove: 10 ** -precision } });
  }

  startOf(seconds) {
    const width = WIDTH_S[this.interval];
    return Math.floor(seconds / width) * width;
  }

  keep(bar) {
    const time = bar.t / 1e6;
    this.bars.set(time, {
      time, open: Number(bar.open), high: Number(bar.high), low: Number(bar.low), close: Number(bar.close),
      volume: Number(bar.volume ?? 0),
    });
    if (this.live?.time === time) this.live = null;
    if (this.bars.size > BARS_MAX) this.bars.delete(Math.min(...this.bars.keys()));
  }

  // A bar closed, was corrected, or went; only an older one needs all of them drawn again.
  take(bars, gone) {
    const ours = (bar) => bar.id === this.instrument?.id && bar.interval === this.interval;
    const came = bars.filter(ours);
    const went = gone.filter(ours);
    if (!came.length && !went.length) return;
    for (const bar of came) this.keep(bar);
    for (const bar of went) this.bars.delete(bar.t / 1e6);
    inFrame("chart", () => this.redraw());
  }

  price(row) {
    if (!row.price || row.id !== this.instrument?.id) return;
    const time = this.startOf(row.t / 1e6);
    if (this.bars.has(time) || (this.live && time < this.live.time)) return;
    const value = Number(row.price);
    this.grow(value, value, value, value, time);
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      inFrame("candle", () => {
        if (this.live) this.candles.update(this.live);
      });
    }, CANDLE_MS);
  }

  grow(open, high, low, close, time) {
    if (this.live && this.live.time !== time) this.bars.set(this.live.time, { ...this.live, volume: 0 });
    if (!this.live || this.live.time !== time) this.live = { time, open, high, low, close };
    else {
      this.live.high = Math.max(this.live.high, high);
      this.live.low = Math.min(this.live.low, low);
      this.live.close = close;
    }
  }

  redraw() {
    const sorted = [...this.bars.values()].sort((a, b) => a.time - b.time);
    const whole = this.live && !this.bars.has(this.live.time) ? [...sorted, this.live] : sorted;
    this.candles.setData(whole.sort((a, b) => a.time - b.time));
    this.volumes.setData(
      sorted.map(({ time, open, close, volume }) => ({
        time, value: volume, color: `${close >= open ? this.colours.up : this.colours.down}55`,
      })),
    );
  }
}
