/**
 * Where a seal stands on a page: boxes in points (1/72 inch) from the top left corner of the page as
 * it is shown, which is what the API takes. No document, no elements: numbers only.
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Box
 * @typedef {{width: number, height: number}} Size
 */

/** The smallest side of a seal, in points. */
export const SMALLEST = 12;
const MARGIN = 36;
const DECIMALS = 100;

/** Down, so that a box that ends at the edge of a page never ends beyond it. */
function cut(value) {
  return Math.max(0, Math.floor(value * DECIMALS + 1e-6) / DECIMALS);
}

function within(value, least, most) {
  return Math.min(Math.max(value, least), Math.max(least, most));
}

/** The box, wholly on the page and of a size that can be seen. */
export function fitted(box, page) {
  const width = within(box.width, Math.min(SMALLEST, page.width), page.width);
  const height = within(box.height, Math.min(SMALLEST, page.height), page.height);
  return {
    left: cut(within(box.left, 0, page.width - width)),
    top: cut(within(box.top, 0, page.height - height)),
    width: cut(width),
    height: cut(height),
  };
}

/** The box, moved, as far as the page goes. */
export function moved(box, across, down, page) {
  return fitted({ ...box, left: box.left + across, top: box.top + down }, page);
}

/** The box with one corner moved; `corner` is `nw`, `ne`, `sw` or `se`. The opposite one stays. */
export function resized(box, corner, across, down, page) {
  let { left, top } = box;
  let right = left + box.width;
  let bottom = top + box.height;
  if (corner.includes("w")) {
    left = within(left + across, 0, right - SMALLEST);
  } else {
    right = within(right + across, left + SMALLEST, page.width);
  }
  if (corner.includes("n")) {
    top = within(top + down, 0, bottom - SMALLEST);
  } else {
    bottom = within(bottom + down, top + SMALLEST, page.height);
  }
  return fitted({ left, top, width: right - left, height: bottom - top }, page);
}

/** Where a seal stands before anybody places it: bottom right, in this shape (width by height). */
export function proposed(page, shape) {
  const width = Math.min(page.width - 2 * MARGIN, shape.width);
  const height = Math.min(page.height - 2 * MARGIN, (width * shape.height) / shape.width);
  return fitted(
    {
      left: page.width - MARGIN - width,
      top: page.height - MARGIN - height,
      width,
      height,
    },
    page,
  );
}

/** A box in points in percent of the page; cut so that it never ends beyond the page. */
export function inPercent(box, page) {
  const cutFine = (value) => Math.floor(value * 10000 + 1e-6) / 10000;
  const [x, y] = [100 / page.width, 100 / page.height];
  return {
    left: cutFine(box.left * x),
    top: cutFine(box.top * y),
    width: cutFine(box.width * x),
    height: cutFine(box.height * y),
  };
}

/** A box in percent of the page in points. */
export function inPoints(box, page) {
  const [x, y] = [page.width / 100, page.height / 100];
  return { left: box.left * x, top: box.top * y, width: box.width * x, height: box.height * y };
}
