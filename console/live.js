// The WebSocket: newest state, how old it is, and reconnecting by itself.

const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 15000;

export class Live {
  // onMessage(message); onConnection(connected).
  constructor(onMessage, onConnection) {
    this.onMessage = onMessage;
    this.onConnection = onConnection;
    this.wait = FIRST_WAIT_MS;
    this.received = 0; // performance.now() of the newest message
    this.watched = "";
    this.#open();
  }

  // Seconds since the newest message; Infinity before the first.
  age() {
    return this.received ? (performance.now() - this.received) / 1000 : Infinity;
  }

  // Sends a command; false: there is no connection.
  send(command) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(command));
    return true;
  }

  // Asks for the levels of a channel as well, "" for none: on another connection, soon.
  watch(channel) {
    if (channel === this.watched) return;
    this.watched = channel;
    this.socket.close();
  }

  #open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const query = this.watched ? `?meters=${encodeURIComponent(this.watched)}` : "";
    const socket = new WebSocket(`${scheme}://${location.host}/api/v1/live${query}`);
    this.socket = socket;
    let silent = true;
    socket.onmessage = (event) => {
      silent = false;
      this.received = performance.now();
      this.wait = FIRST_WAIT_MS;
      this.onConnection(true);
      let message;
      try {
        message = JSON.parse(event.data);
      } catch (error) {
        console.error("unreadable message", error);
        return;
      }
      this.onMessage(message);
    };
    socket.onclose = () => {
      if (silent) this.watched = ""; // it may be gone
      this.onConnection(false);
      setTimeout(() => this.#open(), this.wait * (0.5 + Math.random()));
      this.wait = Math.min(this.wait * 2, LAST_WAIT_MS);
    };
  }
}
