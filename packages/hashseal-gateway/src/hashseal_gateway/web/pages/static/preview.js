/**
 * Pages of a document, drawn in this browser by pdf.js: nothing is sent anywhere for it.
 *
 * pdf.js gives the size of a page as it is shown, in points: rotation, crop box and unit are in it.
 */

/** Why there is no preview, in words for a person. */
export class NoPreview extends Error {}

const LARGEST_PIXELS = 8_000_000;

export class Preview {
  #canvas;
  #library;
  #folder;
  #task = null;
  #document = null;
  #drawing = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {string} folder where pdf.js is, on this server
   */
  constructor(canvas, folder) {
    this.#canvas = canvas;
    this.#folder = folder;
  }

  /** Open a file; the number of its pages. */
  async open(file, password) {
    await this.close();
    const pdfjs = await this.#loaded();
    const folder = new URL(this.#folder, document.baseURI).href;
    this.#task = pdfjs.getDocument({
      data: new Uint8Array(await file.arrayBuffer()),
      password: password || undefined,
      cMapUrl: `${folder}cmaps/`,
      standardFontDataUrl: `${folder}standard_fonts/`,
      wasmUrl: `${folder}wasm/`,
      useWasm: false,
      verbosity: 0,
    });
    try {
      this.#document = await this.#task.promise;
    } catch (error) {
      throw new NoPreview(
        error.name === "PasswordException"
          ? "The file is encrypted. Give its password below, and it is shown."
          : "The file cannot be shown. Is it a PDF?",
      );
    }
    return this.#document.numPages;
  }

  /** Draw a page as wide as `width` CSS pixels; its size in points, and pixels to the point. */
  async draw(number, width) {
    const page = await this.#document.getPage(number);
    const size = page.getViewport({ scale: 1 });
    const scale = width / size.width;
    const dense = Math.min(
      window.devicePixelRatio || 1,
      Math.sqrt(LARGEST_PIXELS / (size.width * size.height)) / scale,
    );
    const viewport = page.getViewport({ scale: scale * dense });
    this.#drawing?.cancel();
    this.#canvas.width = Math.ceil(viewport.width);
    this.#canvas.height = Math.ceil(viewport.height);
    this.#canvas.style.width = `${width}px`;
    this.#canvas.style.height = `${size.height * scale}px`;
    this.#drawing = page.render({ canvas: this.#canvas, viewport });
    const drawn = this.#drawing.promise.catch((error) => {
      if (error.name !== "RenderingCancelledException") {
        throw new NoPreview("This page cannot be drawn here; the seal can be placed all the same.");
      }
    });
    return { page: { width: size.width, height: size.height }, scale, drawn };
  }

  async close() {
    this.#drawing?.cancel();
    this.#drawing = null;
    this.#document = null;
    const task = this.#task;
    this.#task = null;
    await task?.destroy();
  }

  async #loaded() {
    if (this.#library === undefined) {
      try {
        const folder = new URL(`${this.#folder}legacy/build/`, document.baseURI).href;
        this.#library = await import(`${folder}pdf.min.mjs`);
        this.#library.GlobalWorkerOptions.workerSrc = `${folder}pdf.worker.min.mjs`;
      } catch {
        throw new NoPreview("The preview could not be loaded. Say the place in the fields below.");
      }
    }
    return this.#library;
  }
}
