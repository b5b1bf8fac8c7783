"use strict";
document.documentElement.classList.add("js");

const ZOOMS = [1, 2, 3, 4, 6, 8];
const NEAR = 24; // pixels from the divider within which a pointer takes hold of it
const STILL = 4; // pixels that a pointer may move within a click

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** One comparison: a divider, a zoom, and whether the truth is shown. */
function setUpViewer(viewer) {
  const stage = viewer.querySelector(".stage");
  const slider = viewer.querySelector(".slider");
  const output = viewer.querySelector("output");
  const truth = viewer.querySelector("[data-truth]");
  const image = stage.querySelector("img");
  let level = 0;
  let x = 0; // where the zoomed sheet begins, in widths and heights of the stage
  let y = 0;
  let grip = null;

  stage.tabIndex = 0;
  stage.setAttribute("role", "group");
  stage.setAttribute("aria-describedby", "viewer-keys");

  const isTruth = () => truth?.getAttribute("aria-pressed") === "true";

  function divide(percent) {
    slider.value = clamp(percent, 0, 100);
    const other = isTruth() ? "truth" : "after";
    slider.setAttribute("aria-valuetext", `${slider.value} % before, ${100 - slider.value} % ${other}`);
    viewer.style.setProperty("--cut", `${slider.value}%`);
  }

  function draw() {
    const zoom = ZOOMS[level];
    x = clamp(x, 1 - zoom, 0);
    y = clamp(y, 1 - zoom, 0);
    viewer.style.setProperty("--view", zoom > 1 ? `translate(${100 * x}%, ${100 * y}%) scale(${zoom})` : "none");
    stage.classList.toggle("zoomed", zoom > 1);
    // at smaller factors pixels would be drawn unequally wide
    const pixel = (zoom * stage.clientWidth) / Number(image.getAttribute("width"));
    stage.classList.toggle("crisp", pixel >= 1.5 || zoom > 2);
    const text = `${zoom}×`;
    if (output.textContent !== text) output.textContent = text;
    for (const button of viewer.querySelectorAll("[data-zoom]")) {
      const idle = Number(button.dataset.zoom) > 0 ? level === ZOOMS.length - 1 : level === 0;
      button.setAttribute("aria-disabled", String(idle));
    }
  }

  /** Zoom so that the point at `u`, `v` (in widths and heights of the stage) stays where it is. */
  function zoomTo(next, u = 0.5, v = 0.5) {
    const before = ZOOMS[level];
    level = clamp(next, 0, ZOOMS.length - 1);
    x = u - ((u - x) * ZOOMS[level]) / before;
    y = v - ((v - y) * ZOOMS[level]) / before;
    draw();
  }

  function showTruth(shown) {
    truth.setAttribute("aria-pressed", String(shown));
    stage.classList.toggle("with-truth", shown);
    divide(Number(slider.value));
  }

  slider.addEventListener("input", () => divide(Number(slider.value)));
  truth?.addEventListener("click", () => showTruth(!isTruth()));
  for (const button of viewer.querySelectorAll("[data-zoom]")) {
    const step = Number(button.dataset.zoom);
    button.addEventListener("click", () => zoomTo(step ? level + step : 0));
  }

  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const arrow = event.target === stage ? arrows[event.key] : undefined;
    if (event.key === "+" || event.key === "=") zoomTo(level + 1);
    else if (event.key === "-" || event.key === "_") zoomTo(level - 1);
    else if (event.key === "0") zoomTo(0);
    else if ((event.key === "t" || event.key === "T") && truth) showTruth(!isTruth());
    else if (arrow && level > 0) {
      x += 0.1 * arrow[0];
      y += 0.1 * arrow[1];
      draw();
    } else if (arrow && arrow[0]) divide(Number(slider.value) - 2 * arrow[0]);
    else return;
    event.preventDefault();
  });

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    const box = stage.getBoundingClientRect();
    const cut = box.left + (box.width * Number(slider.value)) / 100;
    const divides = level === 0 || Math.abs(event.clientX - cut) < NEAR;
    grip = { left: event.clientX, top: event.clientY, x, y, divides, moved: false };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!grip) return;
    const box = stage.getBoundingClientRect();
    const right = event.clientX - grip.left;
    const down = event.clientY - grip.top;
    grip.moved ||= Math.hypot(right, down) > STILL;
    if (!grip.moved) return;
    stage.classList.add("moving");
    stage.classList.toggle("dividing", grip.divides);
    if (grip.divides) divide(Math.round((100 * (event.clientX - box.left)) / box.width));
    else {
      x = grip.x + right / box.width;
      y = grip.y + down / box.height;
      draw();
    }
  });
  stage.addEventListener("pointerup", (event) => {
    if (grip && !grip.moved) {
      const box = stage.getBoundingClientRect();
      const next = event.shiftKey ? level - 1 : (level + 1) % ZOOMS.length;
      zoomTo(next, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }
    release();
  });
  stage.addEventListener("pointercancel", release);

  function release() {
    grip = null;
    stage.classList.remove("moving", "dividing");
  }

  new ResizeObserver(draw).observe(stage);
  divide(50);
  draw();
}

/** Sort a table by a column: numbers before texts, missing values last whichever way. */
function sortBy(table, header) {
  const column = header.cellIndex;
  const now = header.getAttribute("aria-sort");
  const opposite = { ascending: "descending", descending: "ascending" };
  const order = opposite[now] ?? header.dataset.first;
  const sign = order === "ascending" ? 1 : -1;
  for (const other of header.parentElement.cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", order);

  const rank = (cell) => ("missing" in cell.dataset ? 2 : "number" in cell.dataset ? 0 : 1);
  const text = (cell) => (cell.querySelector(".value") ?? cell).textContent.trim();
  const compare = (one, two) => {
    const [a, b] = [one.cells[column], two.cells[column]];
    if (rank(a) !== rank(b)) return rank(a) - rank(b);
    if (rank(a) === 2) return 0;
    if (rank(a) === 1) return sign * text(a).localeCompare(text(b), "en", { numeric: true });
    const [m, n] = [Number(a.dataset.number), Number(b.dataset.number)];
    return m === n ? 0 : sign * (m < n ? -1 : 1);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".viewer").forEach(setUpViewer);
  for (const table of document.querySelectorAll("table")) {
    for (const header of table.tHead.rows[0].cells) {
      header.querySelector("button").addEventListener("click", () => sortBy(table, header));
    }
  }
  // paper has nothing to unfold
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("details:not([open])")];
    for (const details of unfolded) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of unfolded) details.open = false;
  });
});
