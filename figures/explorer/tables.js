// Tables of the page: sorted, searched and paged by DataTables. Every text becomes text, never markup.

let jquery;

/** jQuery with DataTables, made of the module's text when the first table is shown. */
async function tableLibrary() {
  if (!jquery) {
    const code = JSON.parse(document.getElementById("datatables").textContent);
    const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    ({ jQuery: jquery } = await import(address));
    jquery.fn.dataTable.ext.errMode = "throw";
  }
  return jquery;
}

function tableElement(titles) {
  const table = document.createElement("table"), head = table.createTHead().insertRow();
  for (const title of titles) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = title;
    head.append(cell);
  }
  return table;
}

function tableOptions(nRows, length) {
  const language = { search: "", searchPlaceholder: "search", info: "_START_ to _END_ of _TOTAL_", infoFiltered: "(of _MAX_)",
    infoEmpty: "none", zeroRecords: "none", paginate: { previous: "‹", next: "›", first: "«", last: "»" } };
  const paged = nRows > length;
  return { language, paging: paged, pageLength: length, lengthChange: false, searching: paged, info: paged, order: [],
    autoWidth: false, deferRender: true,
    layout: { topStart: paged ? "search" : null, topEnd: null, bottomStart: paged ? "info" : null,
      bottomEnd: paged ? { paging: { buttons: 3, firstLast: false } } : null } };
}

/** Fills the holder of a figure's numbers. */
async function buildTable(holder) {
  const { columns, rows } = JSON.parse(document.getElementById(`data-${holder.dataset.table}`).textContent);
  const table = tableElement(columns);
  holder.append(table);
  const $ = await tableLibrary();
  const numeric = columns.map((_, i) => rows.some((row) => typeof row[i] === "number"));
  $(table).DataTable({ ...tableOptions(rows.length, 25), data: rows,
    columns: columns.map((_, i) => ({ render: $.fn.dataTable.render.text(), className: numeric[i] ? "n" : "" })) });
}

for (const holder of document.querySelectorAll(".table")) {
  const closed = holder.closest("details");
  if (closed) closed.addEventListener("toggle", () => buildTable(holder), { once: true });
  else buildTable(holder);
}
