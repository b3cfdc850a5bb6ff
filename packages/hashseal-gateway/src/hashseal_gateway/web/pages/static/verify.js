/** The verify page: the report appears below, without another page being loaded. */
import { takesFiles } from "./file-drop.js";
import { askReport } from "./report.js";
import { Waiting } from "./waiting.js";

const form = document.getElementById("verify");
const chosen = document.getElementById("chosen");
const place = document.getElementById("report-place");
const waiting = new Waiting(form);

takesFiles(document.getElementById("drop"), form.elements.document, (file) => {
  chosen.textContent = file === null ? "" : file.name;
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  place.replaceChildren();
  await waiting.during("Sending the file…", async (signal) => {
    const onProgress = (sent, done) => waiting.progress(sent, done, "Verifying…");
    const how = { address: form.action, onProgress, signal };
    const report = await askReport(new FormData(form), how);
    place.replaceChildren(report);
    report.focus();
  });
});
