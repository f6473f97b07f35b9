"use strict";
// Tables of class "sortable" are sorted by the headings of the last row of their head: ascending, descending, as it was.
// A cell is compared by its data-value if the heading's column has numbers (data-type), else by its text; cells without a
// value stay last. A row in the foot, such as a total, stays where it is.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const unsorted = [...body.rows];
  const { compare: byText } = new Intl.Collator(undefined, { numeric: true });
  const byNumber = (a, b) => Number(a) - Number(b);
  heads.forEach((head, at) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const compare = head.dataset.type === "number" ? byNumber : byText;
    const value = (row) => row.cells[at].dataset.value ?? row.cells[at].textContent.trim();
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      table.classList.toggle("sorted", next !== "");
      const sign = next === "descending" ? -1 : 1;
      const known = unsorted.filter((row) => value(row) !== "");
      const rest = unsorted.filter((row) => value(row) === "");
      if (next) known.sort((a, b) => sign * compare(value(a), value(b)));
      body.append(...(next ? [...known, ...rest] : unsorted));
    });
  });
}
