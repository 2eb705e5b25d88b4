"use strict";

/* Everything here is comfort: the page says the same without it. */

const announcer = document.getElementById("announcer");

function bySortValue(column, direction) {
  return (first, second) => {
    const [a, b] = [first.cells[column], second.cells[column]];
    const [aEmpty, bEmpty] = ["empty" in a.dataset, "empty" in b.dataset];
    if (aEmpty || bEmpty) return aEmpty - bEmpty; // last, in both directions
    const [x, y] = [a.dataset.sort, b.dataset.sort];
    if (x !== undefined && y !== undefined) return direction * (Number(x) - Number(y));
    return direction * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  };
}

function sortTable(table, head) {
  const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(bySortValue(head.cellIndex, direction)));
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  for (const head of table.tHead.rows[0].cells) {
    if ("fixed" in head.dataset) continue;
    const button = document.createElement("button");
    button.type = "button";
    const arrow = document.createElement("span");
    arrow.className = "arrow";
    arrow.setAttribute("aria-hidden", "true");
    const kind = head.querySelector(".kind");
    button.append(...head.childNodes);
    button.insertBefore(document.createTextNode("\u00a0"), kind); // the arrow stays with the last word
    button.insertBefore(arrow, kind);
    head.append(button);
    button.addEventListener("click", () => sortTable(table, head));
  }
}

for (const input of document.querySelectorAll(".filter input")) {
  const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const output = input.parentElement.querySelector("output");
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every((word) => texts.get(row).includes(word));
    const shown = rows.filter((row) => !row.hidden).length;
    output.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  };
  input.addEventListener("input", filter);
  input.parentElement.hidden = false;
  filter(); // a browser may keep what was typed before
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea"); // the older way, which needs no permission
    area.value = text;
    area.className = "hidden";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

for (const command of document.querySelectorAll(".command")) {
  const text = command.textContent;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${text.split("\n")[0]}`);
  button.addEventListener("click", async () => {
    const done = await copyText(text);
    button.focus();
    button.textContent = done ? "Copied" : "Not copied";
    announcer.textContent = done ? "Copied." : "The browser did not allow to copy: mark the text instead.";
    setTimeout(() => { button.textContent = "Copy"; announcer.textContent = ""; }, 2000);
  });
  command.before(button);
}

window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});

for (const link of document.querySelectorAll("a.save")) {
  link.href = link.closest("figure").querySelector("img").src; // the light one, for papers
  link.hidden = false;
}
