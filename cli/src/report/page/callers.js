// Callers
const KIDS = 200;
const groups = (list, keyOf, ofPoint) => {
    const found = new Map();
    for (const [index, at] of list) {
        const key = keyOf(index, at);
        if (key === null) continue;
        let group = found.get(key);
        if (!group) found.set(key, group = { name: strings[key], value: 0, list: [] });
        group.value += ofPoint[index];
        group.list.push([index, at]);
    }
    return [...found.values()].filter(({ value }) => value > 0).sort((a, b) => b.value - a.value);
};
const functionOf = (index, at) => at === 0 ? null : place.name[node.place[at]];
const expandable = (group, level) => level > 0 || group.list.some(([, at]) => node.parent[at] !== 0);
// The next level: from crates and types to functions, from functions to their callers.
const expand = (group, level) => level > 0
    ? groups(group.list, functionOf, current())
    : groups(group.list.map(([index, at]) => [index, node.parent[at]]), functionOf, current());
const treeItem = (group, level, whole) => {
    const item = make("li", { role: "treeitem", tabindex: "-1" });
    const open = expandable(group, level);
    if (open) item.setAttribute("aria-expanded", "false");
    const arrow = make("span", { "aria-hidden": "true" });
    const row = make("div", { class: "row" }, arrow, make("span", { text: number(group.value) }), make("span", { text: share(group.value, whole) }), make("span", { text: group.name || "(other)" }));
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
    for (let index = 0; index < points; index++) all.push([index, point.own[index]]);
    const keyOf = { function: functionOf, crate: index => point.crate[index], type: index => point.type[index] }[kind];
    const list = current();
    fill($("tree"), groups(all, keyOf, list), kind === "function" ? 0 : 1, sum(list));
    const first = $("tree").querySelector("[role=treeitem]");
    if (first) first.tabIndex = 0;
}
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
    if (!moves[event.key] || !item) return;
    event.preventDefault();
    moves[event.key]();
});
