// Search: what has the text in a function's or file's name.
let needle = "";
let boxFound = null;   // boxes of such a function
let pointFound = null; // points with such a place in their stack
const search = () => {
    needle = $("search").value.trim().toLowerCase();
    if (!needle) {
        boxFound = pointFound = null;
        $("found").textContent = "";
    } else {
        const stringFound = strings.map(text => text.toLowerCase().includes(needle));
        boxFound = Uint8Array.from(box.name, name => stringFound[name]);
        const nodeFound = new Uint8Array(node.parent.length);
        for (let at = 1; at < nodeFound.length; at++) {
            const here = node.place[at];
            nodeFound[at] = nodeFound[node.parent[at]] || stringFound[place.name[here]] || stringFound[place.file[here]] ? 1 : 0;
        }
        pointFound = Uint8Array.from(point.node, at => nodeFound[at]);
        let found = 0;
        const list = current();
        for (let index = 0; index < points; index++) if (pointFound[index]) found += list[index];
        $("found").textContent = share(found, sum(list)) + " of " + figure.title + " in " + number(sum(pointFound)) + " sites";
    }
    drawFlame();
    drawSites();
};
let searching = 0;
$("search").addEventListener("input", () => { clearTimeout(searching); searching = setTimeout(search, 120); });
