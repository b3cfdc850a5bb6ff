/** What is said while something is on its way, and when it was refused. */
import { Refused } from "./sending.js";

const SLOW_SECONDS = 8;

export class Waiting {
  #status;
  #bar;
  #failure;
  #button;
  #stop;
  #clock = null;
  #began = 0;
  #words = "";
  #controller = null;

  /** @param {HTMLElement} root holds what is marked with data-waiting */
  constructor(root) {
    const part = (name) => root.querySelector(`[data-waiting="${name}"]`);
    this.#status = part("status");
    this.#bar = part("bar");
    this.#failure = part("failure");
    this.#button = part("send");
    this.#stop = part("stop");
    this.#stop.addEventListener("click", () => this.#controller?.abort());
  }

  /** Do the work; whatever ends it badly is shown. True when it ended well. */
  async during(words, work) {
    this.#controller = new AbortController();
    this.#began = performance.now();
    this.#failure.hidden = true;
    this.#button.disabled = true;
    this.#stop.hidden = false;
    this.#bar.hidden = false;
    this.say(words);
    this.#clock = setInterval(() => this.#tick(), 1000);
    try {
      await work(this.#controller.signal);
      this.#status.textContent = "";
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    } finally {
      clearInterval(this.#clock);
      this.#bar.hidden = true;
      this.#stop.hidden = true;
      this.#button.disabled = false;
    }
  }

  /** What is happening now. */
  say(words) {
    this.#words = words;
    this.#status.textContent = words;
    this.#bar.removeAttribute("value");
  }

  /** How much of a file was sent; `then` is what happens once all of it was. */
  progress(sent, done, then) {
    if (done) {
      this.say(then);
    } else {
      this.#bar.value = sent;
    }
  }

  #tick() {
    const seconds = Math.round((performance.now() - this.#began) / 1000);
    if (seconds >= SLOW_SECONDS) {
      this.#status.textContent = `${this.#words} This takes longer than usual: ${seconds} seconds so far.`;
    }
  }

  #fail(error) {
    this.#status.textContent = "";
    if (error.name === "AbortError") {
      this.#status.textContent = "Stopped.";
      return;
    }
    if (!(error instanceof Refused)) {
      throw error;
    }
    showFailure(this.#failure, error);
  }
}

/** An error in words with what to do, and its code. */
export function showFailure(place, error) {
  const [title, action, code] = ["h2", "p", "p"].map((tag) => document.createElement(tag));
  title.textContent = sentence(error.message);
  action.textContent = sentence(error.action);
  code.className = "code";
  code.textContent = error.code;
  place.replaceChildren(title, action, code);
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}

function sentence(words) {
  const whole = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.?!]$/.test(whole) ? whole : `${whole}.`;
}
