/** What was noted in a document before it was signed, in words; codes that are not known stay. */
const WORDS = {
  javascript: "it holds scripts",
  "launch-action": "it can start programs",
  xfa: "it holds an XFA form, which readers may draw differently",
  "submit-action": "it can send what is filled in to an address",
  multimedia: "it holds moving pictures or sound",
  "hidden-content": "it holds content that may be hidden or shown later",
  "embedded-file": "files are attached to it",
  "font-not-embedded": "a font is not in the file, so readers draw letters with one of their own",
  "covered-field": "the seal covers a field of the form",
};

export function inWords(codes) {
  return codes
    .split(", ")
    .map((code) => WORDS[code] ?? code)
    .join("; ");
}
