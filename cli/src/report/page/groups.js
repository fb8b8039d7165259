// Points put together by what they are called: rows in the order of their first points.
// `isIn`: 1 for each point that counts, or null for all.
const grouped = (kind, isIn) => {
    const rowOf = new Int32Array(points).fill(-1);
    const rowOfName = new Int32Array(strings.length).fill(-1);
    const first = [];
    for (let index = 0; index < points; index++) {
        if (isIn && !isIn[index]) continue;
        if (kind === "stack") rowOf[index] = first.push(index) - 1;
        else {
            const name = key[kind][point.key[index]];
            if (rowOfName[name] < 0) rowOfName[name] = first.push(index) - 1;
            rowOf[index] = rowOfName[name];
        }
    }
    const known = {};
    const sums = id => known[id] ??= (() => {
        const all = new Float64Array(first.length);
        const list = values[id];
        for (let index = 0; index < points; index++) if (rowOf[index] >= 0) all[rowOf[index]] += list[index];
        return all;
    })();
    const members = row => [...point.key.keys()].filter(index => rowOf[index] === row);
    return { kind, first, sums, members };
};
const nameOfRow = ({ kind, first }, row) => strings[key[kind === "stack" ? "site" : kind][point.key[first[row]]]];
// Who called, of the functions outside of the standard library: tells stacks apart.
const callersOf = (index, most) => {
    const names = [];
    for (let at = node.parent[point.site[index]]; at !== 0 && names.length < most; at = node.parent[at]) {
        if (place.kind[node.place[at]] < STANDARD) names.push(nameOf(at));
    }
    return names.map(name => "← " + name).join(" ");
};
// A row's name, which opens its details: the function, and softly what else the name has.
const label = (all, row, ranking) => {
    const name = nameOfRow(all, row);
    const of = point.key[all.first[row]];
    const head = { own: strings[key.own_head[of]], crate: "", file: "", type: "" }[all.kind] ?? strings[key.head[of]];
    const at = head && name.startsWith(head) ? head.length : name.length;
    return [make("button", { type: "button", class: "link", onclick: () => showDetails(name, all.members(row), ranking ?? figure) },
        name.slice(0, at), make("span", { class: "place", text: name.slice(at) }))];
};
// The largest rows of a figure.
const largest = (all, id, most) => {
    const sums = all.sums(id);
    return [...sums.keys()].filter(row => sums[row] > 0).sort((a, b) => sums[b] - sums[a] || a - b).slice(0, most);
};
// A table whose last cell may be elements. It can be scrolled by keys where it is too wide.
const table = (name, headers, rows) => make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, make("table", {},
    make("thead", {}, make("tr", {}, ...headers.map(text => make("th", { scope: "col", text, class: text === "site" ? "name" : "" })))),
    make("tbody", {}, ...rows.map(cells => make("tr", {}, ...cells.map(cell => Array.isArray(cell) ? make("td", { class: "name" }, ...cell) : make("td", { text: cell })))))));
