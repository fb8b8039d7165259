// Details of a point
const bounds = (id, index) => {
    if (!head.intervals.includes(id)) return "";
    const [low, high] = [column["low_" + id][index], column["high_" + id][index]];
    return low === high ? "" : " (from " + number(low) + " to " + number(high) + ", 95 %)";
};
let opener = null;
function showPoint(index) {
    opener = document.activeElement;
    const site = siteOf(index);
    $("details-title").textContent = site.name;
    const facts = make("dl");
    for (const each of figures) {
        if (values[each.id][index]) facts.append(make("div", {}, make("dt", { text: each.title }), make("dd", { text: number(values[each.id][index]) + bounds(each.id, index) })));
    }
    const stack = make("ol");
    for (let at = point.node[index]; at !== 0; at = node.parent[at]) {
        const foreign = place.foreign[node.place[at]];
        stack.append(make("li", { class: foreign ? "foreign" : "own" }, nameOf(at), make("span", { class: "place", text: " " + placeOf(at) })));
    }
    $("details-body").replaceChildren(make("p", { class: "place", text: [site.place, site.through].filter(Boolean).join(" ") }), facts, make("h3", { text: "Allocated at, innermost first" }), stack);
    $("details").hidden = false;
    $("details-title").focus();
}
const closeDetails = () => {
    if ($("details").hidden) return;
    $("details").hidden = true;
    opener?.focus();
};
$("close").addEventListener("click", closeDetails);
document.addEventListener("keydown", event => { if (event.key === "Escape") closeDetails(); });
