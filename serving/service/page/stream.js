// The WebSocket: connects again by itself, sooner at first, and asks for the same again.

import { key } from "./api.js";
import { counted } from "./frame.js";

const AGAIN_MS_MIN = 250;
const AGAIN_MS_MAX = 5000;
const SILENT_MS_MAX = 12000; // a connection that says nothing for so long is dead
const PING_MS = 4000;
const NO_KEY = 4001;

export class Stream {
  constructor({ update, state, asked, again }) {
    this.update = update;
    this.state = state;
    this.asked = asked; // what to subscribe to
    this.again = again; // called once it is back, for what was told meanwhile
    this.againMs = AGAIN_MS_MIN;
    this.heard = 0;
    this.connections = 0;
    setInterval(() => this.look(), PING_MS);
    document.addEventListener("visibilitychange", () => !document.hidden && this.look());
    window.addEventListener("online", () => this.connect());
    this.connect();
  }

  connect() {
    clearTimeout(this.timer);
    if (this.socket) {
      this.socket.onclose = this.socket.onmessage = this.socket.onopen = null;
      this.socket.close();
    }
    this.state("wait", "connecting");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/v1/stream`);
    this.socket = socket;
    this.heard = performance.now();
    socket.onopen = () => {
      if (key.get()) this.say({ action: "auth", key: key.get() });
    };
    socket.onmessage = (event) => counted(() => this.take(event.data));
    socket.onclose = (event) => this.closed(event);
  }

  take(data) {
    this.heard = performance.now();
    const said = JSON.parse(data);
    if (said.type === "update") this.update(said);
    else if (said.type === "ready") {
      this.connections += 1;
      this.againMs = AGAIN_MS_MIN;
      this.state("good", "live");
      this.subscribe();
      if (this.connections > 1) this.again();
    }
  }

  subscribe() {
    if (this.socket?.readyState === WebSocket.OPEN) this.say({ action: "subscribe", ...this.asked() });
  }

  say(words) {
    this.socket.send(JSON.stringify(words));
  }

  closed(event) {
    if (event.code === NO_KEY) this.state("bad", "needs a key");
    else this.state("bad", event.code === 4008 ? "was too slow" : "no connection");
    this.timer = setTimeout(() => this.connect(), this.againMs * (0.75 + Math.random() / 2));
    this.againMs = Math.min(AGAIN_MS_MAX, this.againMs * 2);
  }

  look() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    if (performance.now() - this.heard > SILENT_MS_MAX) this.connect();
    else this.say({ action: "ping" });
  }
}
