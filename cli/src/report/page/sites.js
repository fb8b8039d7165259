// Sites
let below = null; // a box: only points under it
$("sites-below").addEventListener("click", () => { below = chosen; openTab($("tab-sites")); });
$("site-filter").querySelector("button").addEventListener("click", () => { below = null; drawSites(); });
const MORE = 100;
let rowsShown = MORE;
let sortBy = null; // a figure's id, or null for the one chosen above
let ascending = false;
const columnsOfSites = () => {
    const mean = (of, by) => index => values[by][index] ? values[of][index] / values[by][index] : 0;
    const list = [{ id: figure.id, title: figure.title, of: index => current()[index] }];
    list.push({ id: "share", title: "share", of: index => current()[index], text: (value, whole) => share(value, whole) });
    for (const id of ["total-bytes", "total-blocks", "peak-bytes", "end-bytes"]) {
        const other = figures.find(candidate => candidate.id === id);
        if (other && id !== figure.id) list.push({ id, title: other.title, of: index => values[id][index] });
    }
    list.push({ id: "mean-size", title: "mean size", of: mean("total-bytes", "total-blocks") });
    if (values.lifetimes) list.push({ id: "mean-lifetime", title: "mean lifetime (" + head.time + ")", of: mean("lifetimes", "total-blocks") });
    return list;
};
const isBelow = () => {
    if (below === null) return null;
    const under = new Uint8Array(box.parent.length);
    under[below] = 1;
    for (let at = below + 1; at < under.length; at++) under[at] ||= under[box.parent[at]];
    return under;
};
function drawSites() {
    if (!isOpen("sites")) return;
    const columns = columnsOfSites();
    const sorted = columns.find(({ id }) => id === sortBy) ?? columns[0];
    const under = isBelow();
    const list = current();
    const rows = [];
    for (let index = 0; index < points; index++) {
        if (pointFound && !pointFound[index] || under && !under[node.box[point.node[index]]]) continue;
        rows.push(index);
    }
    const keys = new Float64Array(points);
    for (const index of rows) keys[index] = sorted.of(index);
    rows.sort(ascending ? (a, b) => keys[a] - keys[b] || a - b : (a, b) => keys[b] - keys[a] || a - b);
    const table = $("site-table");
    table.caption.textContent = number(rows.length) + " sites";
    $("site-filter").hidden = below === null;
    $("site-filter").querySelector("span").textContent = below === null ? "" : "Under " + strings[box.name[below]];
    const header = make("tr");
    for (const each of columns) {
        const isSorted = each === sorted;
        const button = make("button", { type: "button", text: each.title, onclick: () => {
            ascending = isSorted && !ascending;
            sortBy = each.id;
            drawSites();
            $("site-table").querySelector("th[aria-sort] button")?.focus();
        } });
        const cell = make("th", { scope: "col" }, button);
        if (isSorted) cell.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        header.append(cell);
    }
    header.append(make("th", { scope: "col", text: "site" }));
    table.tHead.replaceChildren(header);
    const whole = sum(list);
    table.tBodies[0].replaceChildren(...rows.slice(0, rowsShown).map(index => make("tr", {},
        ...columns.map(each => make("td", { text: each.text ? each.text(each.of(index), whole) : number(each.of(index)) })),
        make("td", {}, ...label(index)))));
    $("more-sites").hidden = rows.length <= rowsShown;
}
$("more-sites").addEventListener("click", () => { rowsShown += MORE; drawSites(); });
