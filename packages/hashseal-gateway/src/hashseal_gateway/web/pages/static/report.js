/** Asks this gateway for the report on a file and takes it out of the page that answers. */
import { Refused, send } from "./sending.js";

/**
 * @param {FormData} form with the file
 * @param {{address: string, onProgress: Function, signal: AbortSignal}} how
 * @returns {Promise<Element>} the report, to be put into this page
 */
export async function askReport(form, { address, onProgress, signal }) {
  const answer = await send(address, form, { accept: "text/html", onProgress, signal });
  const page = new DOMParser().parseFromString(await answer.body.text(), "text/html");
  const report = page.getElementById("report");
  if (report === null) {
    throw new Refused(
      "The gateway gave a page without a report.",
      "Load this page again, and log in if it asks for it.",
      "unexpected",
    );
  }
  return document.importNode(report, true);
}
