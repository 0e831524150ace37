"use strict";
(() => {
  const board = JSON.parse(document.getElementById("board").textContent);
  const element = (tag, text, attributes = {}) => {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };

  // Sorting: a click on a column's button puts its best first, a second click turns the order round.
  const key = (row, column) => {
    const cell = row.cells[column];
    if (!cell || cell.colSpan > 1) return null;
    const text = cell.dataset.sort ?? cell.textContent.trim();
    if (text === "" || text === "–") return null;
    const plain = Number(text.replaceAll(",", ""));
    return Number.isNaN(plain) ? text.toLowerCase() : plain;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const sort = (button) => {
    const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
    const other = { ascending: "descending", descending: "ascending" };
    const order = other[head.getAttribute("aria-sort")] ?? head.dataset.first ?? "ascending";
    for (const one of head.parentElement.cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const keyed = [...body.rows].map((row) => [key(row, head.cellIndex), row]);
    keyed.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)));
    body.append(...keyed.map(([, row]) => row));
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("thead button");
    if (button) sort(button);
  });

  // Filtering: what does not hold every word is hidden.
  const filter = (input, output, scope, noun) => {
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const items = [...scope.querySelectorAll("[data-filter]")];
      for (const item of items) item.hidden = !words.every((word) => item.dataset.filter.includes(word));
      const n = items.filter((item) => !item.hidden).length;
      output.textContent = words.length ? `${n} of ${items.length} ${noun} shown` : "";
    };
    input.addEventListener("input", apply);
    return apply;
  };
  const find = (name) => document.getElementById(name);
  const main = [...document.querySelectorAll("main > section")].filter((section) => !["all", "reading"].includes(section.id));
  const parts = { querySelectorAll: (selector) => main.flatMap((section) => [...section.querySelectorAll(selector)]) };
  filter(find("filter"), find("shown"), parts, "rows and figures");

  // The list of all scores is made when it is opened first.
  const text = (value) => (value === null ? "" : typeof value === "number" ? String(Number(value.toPrecision(5))) : String(value));
  const used = board.fields.filter((field) => board.rows.some((row) => row[field] !== null));
  find("list").addEventListener("toggle", () => {
    const table = find("scores");
    if (table.tBodies.length) return;
    const head = document.createElement("tr");
    for (const field of used) {
      const cell = element("th", "", { scope: "col" });
      cell.append(element("button", field, { type: "button" }));
      head.append(cell);
    }
    const rows = board.rows.map((row) => {
      const line = element("tr", "", { "data-filter": used.map((field) => text(row[field])).join(" ").toLowerCase() });
      line.append(...used.map((field) => element("td", text(row[field]))));
      return line;
    });
    table.createTHead().append(head);
    table.createTBody().append(...rows);
    filter(find("filter-rows"), find("shown-rows"), table, "rows")();
  });

  const quote = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  find("csv").addEventListener("click", () => {
    const lines = [board.fields, ...board.rows.map((row) => board.fields.map((field) => String(row[field] ?? "")))];
    const csv = lines.map((line) => line.map(quote).join(",")).join("\n") + "\n";
    element("a", "", { href: "data:text/csv;charset=utf-8," + encodeURIComponent(csv), download: "galaxybench.csv" }).click();
  });
})();
