/**
 * Sends a form with a file and tells how far it is. What is refused comes back as words: what is
 * wrong, what to do, and the code.
 */

/** An answer that is no success; `action` says what to do. */
export class Refused extends Error {
  constructor(detail, action, code) {
    super(detail);
    this.action = action;
    this.code = code;
  }
}

const PATIENCE = 180_000;
const PROBLEM = "application/problem+json";
const ACTIONS = { "token-missing": "Load this page again and log in." };
const GONE = {
  network: [
    "The gateway does not answer.",
    "Check the connection, then try again: it is charged once only.",
    "unreachable",
  ],
  timeout: [
    "The gateway did not answer in time.",
    "Try again: the same document is charged once only.",
    "timeout",
  ],
};

async function refusal(answer, type) {
  if (!type.startsWith(PROBLEM)) {
    return new Refused(
      "The gateway gave an answer that is not understood.",
      "Load this page again, and log in if it asks for it.",
      "unexpected",
    );
  }
  const problem = JSON.parse(await answer.text());
  const action = problem.code in ACTIONS ? ACTIONS[problem.code] : problem.action;
  return new Refused(problem.detail, action, problem.code);
}

/**
 * Post `form` to `address`; the answer's body and headers.
 *
 * @param {string} address
 * @param {FormData} form
 * @param {{accept: string, onProgress: (sent: number, done: boolean) => void, signal: AbortSignal}} how
 * @returns {Promise<{body: Blob, header: (name: string) => string | null}>}
 */
export function send(address, form, { accept, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.responseType = "blob";
    request.timeout = PATIENCE;
    request.setRequestHeader("Accept", `${accept}, ${PROBLEM}`);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) {
        onProgress(event.loaded / event.total, false);
      }
    });
    request.upload.addEventListener("load", () => onProgress(1, true));
    request.addEventListener("error", () => reject(new Refused(...GONE.network)));
    request.addEventListener("timeout", () => reject(new Refused(...GONE.timeout)));
    request.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    request.addEventListener("load", () => {
      const type = request.getResponseHeader("Content-Type") ?? "";
      if (request.status === 200 && type.startsWith(accept)) {
        resolve({ body: request.response, header: (name) => request.getResponseHeader(name) });
      } else {
        refusal(request.response, type).then(reject, reject);
      }
    });
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
