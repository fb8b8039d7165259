// Sites
let below = null; // a box: only points under it
$("sites-below").addEventListener("click", () => { below = chosen; chooseTab($("tab-sites")); $("tab-sites").focus(); });
$("site-filter").querySelector("button").addEventListener("click", () => { below = null; drawSites(); $("rows").focus(); });
const MORE = 100;
let rowsShown = MORE;
let sortBy = null; // a column's id, or null for the figure chosen above
let ascending = false;
const MEANINGS = {
    site: "The line that decided to allocate, outside of the standard library, and what it called.",
    own: "The innermost line of the program's own code that led there; of stacks that have none, the site.",
    function: "The function that decided to allocate.", crate: "Its crate, or library.", file: "Its source file.",
    type: "The container that was made.", stack: "Each stack by itself.",
};
// Columns of figures, and means that follow from their sums.
const columnsOf = all => {
    const mean = (of, by) => row => all.sums(by)[row] ? Math.floor(all.sums(of)[row] / all.sums(by)[row]) : 0;
    const list = [{ id: figure.id, title: figure.title, of: row => all.sums(figure.id)[row] }];
    list.push({ id: "share", title: "share", of: list[0].of, text: share });
    for (const id of ["total-bytes", "total-blocks", "peak-bytes", "end-bytes"]) {
        const other = figures.find(candidate => candidate.id === id);
        if (other && id !== figure.id) list.push({ id, title: other.title, of: row => all.sums(id)[row] });
    }
    list.push({ id: "mean-size", title: "mean size", of: mean("total-bytes", "total-blocks") });
    if (values.lifetimes) list.push({ id: "mean-lifetime", title: "mean lifetime (" + head.time + ")", of: mean("lifetimes", "total-blocks") });
    return list;
};
function drawSites() {
    if (!isOpen("sites")) return;
    const kind = $("rows").value;
    const under = below === null ? null : pointsBelow(below);
    const isIn = pointFound && under ? under.map((one, index) => one & pointFound[index]) : under ?? pointFound;
    const all = grouped(kind, isIn);
    const columns = columnsOf(all);
    const sorted = columns.find(({ id }) => id === sortBy) ?? columns[0];
    const keys = Float64Array.from(all.first, (_, row) => sorted.of(row));
    const rows = [...all.first.keys()].sort(ascending ? (a, b) => keys[a] - keys[b] || a - b : (a, b) => keys[b] - keys[a] || a - b);
    const table = $("site-table");
    table.caption.textContent = plural(rows.length, kind === "own" ? "line" : kind);
    $("rows-meaning").textContent = MEANINGS[kind];
    $("site-filter").hidden = below === null;
    $("site-filter").querySelector("span").textContent = below === null ? "" : "Under " + strings[box.name[below]];
    const header = make("tr");
    for (const each of columns) {
        const isSorted = each === sorted;
        const button = make("button", { type: "button", text: each.title, onclick: () => {
            ascending = isSorted && !ascending;
            sortBy = each === columns[0] ? null : each.id;
            drawSites();
            $("site-table").querySelector("th[aria-sort] button").focus();
        } });
        const cell = make("th", { scope: "col" }, button);
        if (isSorted) cell.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        header.append(cell);
    }
    // The name comes after the figure and its share: other columns may be out of sight.
    header.children[1].after(make("th", { scope: "col", class: "name", text: kind === "own" ? "own code" : kind }));
    table.tHead.replaceChildren(header);
    const whole = sum(current());
    table.tBodies[0].replaceChildren(...rows.slice(0, rowsShown).map(row => {
        const cells = columns.map(each => make("td", { text: each.text ? each.text(each.of(row), whole) : number(each.of(row)) }));
        const name = make("td", { class: "name" }, ...label(all, row));
        if (kind === "stack") name.append(make("span", { class: "place", text: " " + callersOf(all.first[row], 3) }));
        return make("tr", {}, cells[0], cells[1], name, ...cells.slice(2));
    }));
    $("more-sites").hidden = rows.length <= rowsShown;
}
$("rows").addEventListener("change", () => { rowsShown = MORE; drawSites(); });
$("more-sites").addEventListener("click", () => {
    const old = rowsShown;
    rowsShown += MORE;
    drawSites();
    $("site-table").tBodies[0].rows[old].querySelector("button").focus();
});
