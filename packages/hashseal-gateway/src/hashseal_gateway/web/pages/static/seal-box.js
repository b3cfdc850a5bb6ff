/**
 * The seal on the page: moved and resized with mouse, finger or pen, and with the keyboard.
 *
 * Arrows move, Shift with arrows resizes, Control makes small steps; PageUp and PageDown change the
 * page. The place is kept in points of the page; what is seen follows from it.
 */
import { fitted, moved, resized } from "./placement.js";

const STEP = 10;
const SMALL_STEP = 1;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const PAGES = { PageUp: -1, PageDown: 1 };

export class SealBox {
  #element;
  #page = { width: 1, height: 1 };
  #box = { left: 0, top: 0, width: 1, height: 1 };
  #scale = 1;
  #drag = null;
  #onChange;
  #onTurn;

  /**
   * @param {HTMLElement} element stands in what shows the page
   * @param {(box: Box) => void} onChange is told of every new place
   * @param {(pages: number) => void} onTurn is told that another page is wanted
   */
  constructor(element, onChange, onTurn) {
    this.#element = element;
    this.#onChange = onChange;
    this.#onTurn = onTurn;
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("pointerdown", (event) => this.#begin(event));
    element.addEventListener("pointermove", (event) => this.#drags(event));
    for (const ended of ["pointerup", "pointercancel", "lostpointercapture"]) {
      element.addEventListener(ended, () => this.#end());
    }
  }

  get box() {
    return this.#box;
  }

  /** Show the box on a page of this size (points), `scale` CSS pixels to the point. */
  show(page, scale) {
    this.#page = page;
    this.#scale = scale;
    this.place(this.#box);
  }

  /** Put the seal there, or as near as the page allows. */
  place(box) {
    this.#box = fitted(box, this.#page);
    for (const side of ["left", "top", "width", "height"]) {
      this.#element.style[side] = `${this.#box[side] * this.#scale}px`;
    }
    this.#onChange(this.#box);
  }

  #key(event) {
    if (event.altKey || event.metaKey) {
      return;
    }
    if (event.key in PAGES) {
      event.preventDefault();
      this.#onTurn(PAGES[event.key]);
    } else if (event.key in ARROWS) {
      event.preventDefault();
      const step = event.ctrlKey ? SMALL_STEP : STEP;
      const [across, down] = ARROWS[event.key].map((way) => way * step);
      this.place(
        event.shiftKey
          ? resized(this.#box, "se", across, down, this.#page)
          : moved(this.#box, across, down, this.#page),
      );
    }
  }

  #begin(event) {
    if (event.button !== 0 || this.#drag !== null) {
      return;
    }
    this.#drag = {
      x: event.clientX,
      y: event.clientY,
      box: this.#box,
      corner: event.target.dataset.corner ?? null,
    };
    this.#element.setPointerCapture(event.pointerId);
    this.#element.focus();
    event.preventDefault();
  }

  #drags(event) {
    if (this.#drag === null) {
      return;
    }
    const across = (event.clientX - this.#drag.x) / this.#scale;
    const down = (event.clientY - this.#drag.y) / this.#scale;
    const { box, corner } = this.#drag;
    this.place(
      corner === null
        ? moved(box, across, down, this.#page)
        : resized(box, corner, across, down, this.#page),
    );
  }

  #end() {
    this.#drag = null;
  }
}
