// Search: what has the text in a function's or file's name.
let needle = "";
let boxFound = null;   // boxes with such a function
let pointFound = null; // points with such a place in their stack
const search = () => {
    needle = $("search").value.trim().toLowerCase();
    if (!needle) {
        boxFound = pointFound = null;
        $("found").textContent = "";
    } else {
        const stringFound = strings.map(text => text.toLowerCase().includes(needle));
        const placeFound = Uint8Array.from(place.name, (name, at) => stringFound[name] || stringFound[place.file[at]]);
        boxFound = new Uint8Array(box.parent.length);
        const nodeFound = new Uint8Array(node.parent.length);
        for (let at = 1; at < nodeFound.length; at++) {
            const here = placeFound[node.place[at]];
            if (here && isShown(at)) boxFound[node.box[at]] = 1;
            nodeFound[at] = here | nodeFound[node.parent[at]];
        }
        pointFound = Uint8Array.from(point.node, at => nodeFound[at]);
        let found = 0;
        const list = current();
        for (let index = 0; index < points; index++) if (pointFound[index]) found += list[index];
        $("found").textContent = share(found, sum(list)) + " of " + figure.title + " in " + plural(sum(pointFound), "stack");
    }
};
let searching = 0;
$("search").addEventListener("input", () => { clearTimeout(searching); searching = setTimeout(() => { search(); redraw(); }, 120); });
