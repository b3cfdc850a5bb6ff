/**
 * The try-it page: choose a document, see its pages, place the seal, sign, read the report.
 *
 * The pages are drawn here; the document is sent once, to be signed. What the fields say is what is
 * sent: the seal on the page only fills them in, and follows them.
 */
import { takesFiles } from "./file-drop.js";
import { inWords } from "./findings.js";
import { inPercent, inPoints, proposed } from "./placement.js";
import { NoPreview, Preview } from "./preview.js";
import { askReport } from "./report.js";
import { SealBox } from "./seal-box.js";
import { send } from "./sending.js";
import { Waiting } from "./waiting.js";

const PDF = "application/pdf";
const SIDES = ["left", "top", "width", "height"];
const BESIDE = 2;
const POINTS_PER_PIXEL = 0.75;
const UNKNOWN = 120;
const QUIET = 400;
const byId = (id) => document.getElementById(id);

const form = byId("try-it");
const fields = form.elements;
const sheet = byId("sheet");
const preview = new Preview(byId("canvas"), form.dataset.pdfjs);
const waiting = new Waiting(form);
const seal = new SealBox(byId("seal-box"), tellFields, turn);

const shown = { pages: 0, number: 1, size: null, width: 0, busy: Promise.resolve() };
let quiet = null;
let link = null;

const visible = () => fields.appearance.value === "box";

/** The picture's own size in points, with room for the text beside it. */
function shape() {
  const { naturalWidth, naturalHeight } = byId("seal-picture");
  const width = naturalWidth * POINTS_PER_PIXEL || UNKNOWN;
  const height = naturalHeight * POINTS_PER_PIXEL || UNKNOWN;
  return { width: fields.style.value === "seal" ? width : width + BESIDE * height, height };
}

function tellFields(box) {
  const told = fields.unit.value === "percent" ? inPercent(box, shown.size) : box;
  fields.page.value = shown.number;
  for (const side of SIDES) {
    fields[side].value = told[side];
  }
  clearTimeout(quiet);
  if (document.activeElement === byId("seal-box")) {
    quiet = setTimeout(() => announce(box), QUIET);
  }
}

function announce(box) {
  const [left, top, width, height] = [box.left, box.top, box.width, box.height].map(Math.round);
  byId("announcer").textContent =
    `Page ${shown.number} of ${shown.pages}: seal ${left} points from the left, ` +
    `${top} from the top, ${width} wide, ${height} high.`;
}

/** What the fields say about the place, in points of the page that is shown. */
function fieldBox() {
  const box = Object.fromEntries(SIDES.map((side) => [side, Number(fields[side].value)]));
  return fields.unit.value === "percent" ? inPoints(box, shown.size) : box;
}

/** Show the picture of the seal that is chosen; it is there, or cannot be had, at the end. */
async function showPicture() {
  const image = byId("seal-picture");
  const { picture } = fields.seal.selectedOptions[0].dataset;
  byId("seal-box").dataset.style = fields.style.value;
  if (image.getAttribute("src") !== picture) {
    image.src = picture;
    await image.decode().catch(() => {});
  }
}

function reshape() {
  if (shown.size !== null) {
    seal.place({ ...seal.box, ...sizeOf(proposed(shown.size, shape())) });
  }
}

function sizeOf({ width, height }) {
  return { width, height };
}

function showChoice() {
  byId("place").hidden = !visible();
  byId("seal-box").hidden = !visible() || shown.size === null;
}

/** One page after the other, so that a slow one never comes in over a later one. */
function draw() {
  shown.busy = shown.busy.then(drawn, drawn);
  return shown.busy;
}

async function drawn() {
  if (shown.pages === 0) {
    return;
  }
  try {
    shown.width = sheet.clientWidth;
    const { page, scale, drawn: ended } = await preview.draw(shown.number, shown.width);
    const first = shown.size === null;
    shown.size = page;
    byId("seal-box").hidden = !visible();
    byId("where").textContent = `Page ${shown.number} of ${shown.pages}`;
    byId("previous").disabled = shown.number === 1;
    byId("next").disabled = shown.number === shown.pages;
    seal.show(page, scale);
    if (first) {
      seal.place(proposed(page, shape()));
    }
    await ended;
    sheet.dataset.drawn = shown.number;
  } catch (error) {
    withoutPreview(error);
  }
}

function withoutPreview(error) {
  if (!(error instanceof NoPreview)) {
    throw error;
  }
  shown.pages = 0;
  shown.size = null;
  byId("pages").hidden = true;
  byId("no-preview").hidden = false;
  byId("no-preview").textContent = error.message;
}

async function turn(by) {
  await goTo(shown.number + by);
  announce(seal.box);
}

async function goTo(number) {
  const wanted = Math.min(Math.max(1, number), shown.pages);
  if (wanted !== shown.number) {
    shown.number = wanted;
    await draw();
  }
}

async function open() {
  const file = fields.document.files[0];
  byId("chosen").textContent = file ? file.name : "";
  Object.assign(shown, { pages: 0, number: 1, size: null });
  delete sheet.dataset.drawn;
  byId("pages").hidden = true;
  byId("no-preview").hidden = true;
  if (!file || !form.dataset.pdfjs) {
    return;
  }
  try {
    const pages = await preview.open(file, fields.password.value);
    if (file !== fields.document.files[0]) {
      return;
    }
    await showPicture();
    shown.pages = pages;
    fields.unit.value = "points";
    byId("pages").hidden = false;
    await draw();
  } catch (error) {
    withoutPreview(error);
  }
}

async function sign(signal) {
  const name = fields.document.files[0].name.replace(/\.pdf$/i, "");
  const onProgress = (sent, done) => waiting.progress(sent, done, "Signing…");
  const answer = await send(form.action, new FormData(form), { accept: PDF, onProgress, signal });
  const signed = new File([answer.body], `${name}.signed.pdf`, { type: PDF });
  URL.revokeObjectURL(link);
  link = URL.createObjectURL(signed);
  byId("download").href = link;
  byId("download").download = signed.name;
  byId("download").textContent = `Download ${signed.name}`;
  byId("signed-level").textContent = answer.header("Hashseal-Level");
  byId("signature-id").textContent = answer.header("Hashseal-Signature-Id");
  const findings = answer.header("Hashseal-Findings");
  byId("findings").hidden = findings === null;
  byId("findings").textContent = findings === null ? "" : `Noted: ${inWords(findings)}.`;
  byId("report-place").replaceChildren();
  byId("result").hidden = false;
  byId("result").focus();
  waiting.say("Verifying what was signed…");
  const checked = new FormData();
  checked.append("form_token", fields.form_token.value);
  checked.append("password", fields.password.value);
  checked.append("document", signed);
  const how = { address: form.dataset.verify, onProgress: () => {}, signal };
  byId("report-place").replaceChildren(await askReport(checked, how));
}

takesFiles(byId("drop"), fields.document, open);
fields.password.addEventListener("change", open);
for (const choice of [fields.seal, fields.style]) {
  choice.addEventListener("change", () => showPicture().then(reshape));
}
fields.unit.addEventListener("change", () => {
  if (shown.size !== null) {
    tellFields(seal.box);
  }
});
for (const choice of form.querySelectorAll('[name="appearance"]')) {
  choice.addEventListener("change", showChoice);
}
for (const side of SIDES) {
  fields[side].addEventListener("change", () => {
    if (shown.size !== null) {
      seal.place(fieldBox());
    }
  });
}
fields.page.addEventListener("change", () => {
  if (shown.pages > 0) {
    goTo(Number(fields.page.value) || 1);
  }
});
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
new ResizeObserver(() => {
  if (sheet.clientWidth !== shown.width && shown.size !== null) {
    draw();
  }
}).observe(sheet);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("result").hidden = true;
  await waiting.during("Sending the document…", sign);
});

showChoice();
if (fields.document.files.length > 0) {
  open();
}
