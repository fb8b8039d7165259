// Callers
const KIDS = 200;
// Groups of points, each with where in its stack it is: a list of pairs, flat.
const groups = (list, keyOf, ofPoint) => {
    const found = new Map();
    for (let at = 0; at < list.length; at += 2) {
        const name = keyOf(list[at], list[at + 1]);
        if (name === null) continue;
        let group = found.get(name);
        if (!group) found.set(name, group = { name: strings[name], value: 0, list: [] });
        group.value += ofPoint[list[at]];
        group.list.push(list[at], list[at + 1]);
    }
    return [...found.values()].filter(({ value }) => value > 0).sort((a, b) => b.value - a.value);
};
const functionOf = (index, at) => at === 0 ? null : place.name[node.place[at]];
const isPoint = (_, at) => at % 2 === 0;
const outward = list => list.map((value, at) => at % 2 === 0 ? value : node.parent[value]);
const expandable = (group, level) => level > 0 || group.list.some((value, at) => at % 2 === 1 && node.parent[value] !== 0);
// The next level: from crates and types to functions, from functions to their callers.
const expand = (group, level) => groups(level > 0 ? group.list : outward(group.list), functionOf, current());
const treeItem = (group, level, whole) => {
    const item = make("li", { role: "treeitem", tabindex: "-1" });
    item.group = group;
    const open = expandable(group, level);
    if (open) item.setAttribute("aria-expanded", "false");
    const arrow = make("span", { "aria-hidden": "true" });
    const row = make("div", { class: "row" }, arrow, make("span", { text: number(group.value) }), make("span", { text: share(group.value, whole) }), make("span", { text: group.name }));
    item.append(row);
    item.toggle = wanted => {
        if (!open) return;
        const opened = item.getAttribute("aria-expanded") === "true";
        if (opened === wanted) return;
        item.setAttribute("aria-expanded", String(!opened));
        if (opened) return item.querySelector("[role=group]").remove();
        const kids = make("ul", { role: "group" });
        fill(kids, expand(group, level), Math.max(level - 1, 0), whole);
        item.append(kids);
    };
    row.addEventListener("click", () => { item.toggle(); focusItem(item); });
    return item;
};
const fill = (list, all, level, whole) => {
    list.replaceChildren(...all.slice(0, KIDS).map(group => treeItem(group, level, whole)));
    if (all.length > KIDS) list.append(make("li", { role: "none", class: "place", text: "… and " + number(all.length - KIDS) + " smaller ones" }));
};
const focusItem = item => {
    for (const other of $("tree").querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
    item.tabIndex = 0;
    item.focus();
};
function drawCallers() {
    if (!isOpen("callers")) return;
    const kind = $("grouping").value;
    const all = [];
    const from = kind === "own" ? point.own : point.site;
    for (let index = 0; index < points; index++) if (!pointFound || pointFound[index]) all.push(index, from[index]);
    const named = index => key[kind][point.key[index]];
    const list = current();
    const isByFunction = kind === "function" || kind === "own";
    fill($("tree"), groups(all, isByFunction ? functionOf : named, list), isByFunction ? 0 : 1, sum(list));
    const first = $("tree").querySelector("[role=treeitem]");
    if (first) first.tabIndex = 0;
    $("caller-details").disabled = !first;
}
$("caller-details").addEventListener("click", () => {
    const { group } = $("tree").querySelector("[tabindex='0']");
    showDetails(group.name, group.list.filter(isPoint), figure);
});
$("grouping").addEventListener("change", drawCallers);
$("tree").addEventListener("keydown", event => {
    const items = [...$("tree").querySelectorAll("[role=treeitem]")];
    const item = event.target.closest("[role=treeitem]");
    const at = items.indexOf(item);
    const moves = {
        ArrowDown: () => items[at + 1] && focusItem(items[at + 1]),
        ArrowUp: () => items[at - 1] && focusItem(items[at - 1]),
        Home: () => focusItem(items[0]),
        End: () => focusItem(items[items.length - 1]),
        ArrowRight: () => item.getAttribute("aria-expanded") === "true" ? focusItem(items[at + 1]) : item.toggle(true),
        ArrowLeft: () => {
            if (item.getAttribute("aria-expanded") === "true") return item.toggle(false);
            const parent = item.parentElement.closest("[role=treeitem]");
            if (parent) focusItem(parent);
        },
        Enter: () => item.toggle(),
    };
    const move = moves[bareKey(event)];
    if (!move || !item) return;
    event.preventDefault();
    move();
});
