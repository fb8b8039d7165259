// Details of some points: their sums, and each one's stack
const STACKS = 20;
const bounds = (id, index) => {
    if (!head.intervals.includes(id)) return "";
    const [low, high] = [column["low_" + id][index], column["high_" + id][index]];
    return low === high ? "" : " (from " + number(low) + " to " + number(high) + ", 95 %)";
};
const factsOf = list => {
    const facts = make("dl");
    const fact = (title, text) => facts.append(make("div", {}, make("dt", { text: title }), make("dd", { text })));
    const total = id => list.reduce((all, index) => all + values[id][index], 0);
    for (const each of figures) {
        const value = total(each.id);
        if (!value) continue;
        const isSum = list.length > 1 && each.id.startsWith("max-");
        fact(each.title + (isSum ? " of each stack, summed" : ""), amount(value, each.unit) + (list.length === 1 ? bounds(each.id, list[0]) : ""));
    }
    const blocks = total("total-blocks");
    if (blocks) {
        fact("mean size", number(Math.floor(total("total-bytes") / blocks)));
        if (values.lifetimes) fact("mean lifetime", amount(Math.floor(total("lifetimes") / blocks), head.time));
    }
    return facts;
};
const stackOf = index => {
    const stack = make("ol");
    for (let at = point.node[index]; at !== 0; at = node.parent[at]) {
        const kind = ["own", "dependency", "standard"][place.kind[node.place[at]]];
        stack.append(make("li", { class: kind }, nameOf(at), make("span", { class: "place", text: " " + placeOf(at) })));
    }
    return stack;
};
const stackItem = (index, ranking, whole, isOpen) => {
    const value = values[ranking.id][index];
    const item = make("details", {}, make("summary", {}, make("span", { class: "value", text: number(value) + "  " + share(value, whole) }),
        make("span", { class: "place", text: " " + callersOf(index, 4) })));
    // Built when it is opened: there can be many.
    item.addEventListener("toggle", () => { if (item.open && item.childElementCount === 1) item.append(stackOf(index)); });
    if (isOpen) item.append(stackOf(index));
    item.open = isOpen;
    return item;
};
let opener = null;
const narrow = matchMedia("(max-width: 70rem)");
// Where the details cover the page, nothing under them can be reached.
const coverPage = () => {
    const isOpen = !$("details").hidden;
    document.body.classList.toggle("with-details", isOpen);
    for (const part of [$("head"), document.querySelector("main")]) part.inert = isOpen && narrow.matches;
};
narrow.addEventListener("change", coverPage);
function showDetails(name, list, ranking) {
    if ($("details").hidden || !$("details").contains(document.activeElement)) opener = document.activeElement;
    const of = values[ranking.id];
    list.sort((a, b) => of[b] - of[a] || a - b);
    const whole = list.reduce((all, index) => all + of[index], 0);
    const stacks = make("div");
    const more = make("button", { type: "button", text: "Show more stacks", onclick: () => addStacks() });
    const addStacks = () => {
        const from = stacks.childElementCount;
        stacks.append(...list.slice(from, from + STACKS).map((index, at) => stackItem(index, ranking, whole, from + at === 0)));
        more.hidden = stacks.childElementCount === list.length;
        stacks.children[from]?.firstElementChild.focus();
    };
    addStacks();
    $("details-title").textContent = name;
    const title = list.length === 1 ? "Its stack, innermost first" : plural(list.length, "stack") + " by " + ranking.title + ", innermost function first";
    $("details-body").replaceChildren(factsOf(list), make("h3", { text: title }), stacks, more);
    $("details").hidden = false;
    $("details").scrollTop = 0;
    coverPage();
    $("details-title").focus();
}
const closeDetails = () => {
    if ($("details").hidden) return;
    $("details").hidden = true;
    coverPage();
    (opener?.getClientRects().length ? opener : document.querySelector("[role=tab][aria-selected=true]")).focus();
};
$("close").addEventListener("click", closeDetails);
document.addEventListener("keydown", event => { if (event.key === "Escape" && !event.defaultPrevented) closeDetails(); });
