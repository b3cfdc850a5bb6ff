/** A file field that also takes what is dropped on it. */

/**
 * @param {HTMLElement} zone what may be dropped on
 * @param {HTMLInputElement} field
 * @param {(file: File | null) => void} onChoice
 */
export function takesFiles(zone, field, onChoice) {
  let depth = 0;
  const mark = (over) => zone.classList.toggle("is-over", over);
  zone.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    mark(true);
  });
  zone.addEventListener("dragleave", () => {
    depth -= 1;
    mark(depth > 0);
  });
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    mark(false);
    if (event.dataTransfer.files.length > 0) {
      const one = new DataTransfer();
      one.items.add(event.dataTransfer.files[0]);
      field.files = one.files;
      onChoice(field.files[0]);
    }
  });
  field.addEventListener("change", () => onChoice(field.files[0] ?? null));
}
