// The data: a head in JSON, then columns of numbers, seven bits a byte.
const unpack = async () => {
    if (!globalThis.DecompressionStream) throw Error("this browser is too old, it cannot decompress");
    const text = atob($("data").textContent.trim());
    $("data").remove();
    const packed = new Uint8Array(text.length);
    for (let at = 0; at < packed.length; at++) packed[at] = text.charCodeAt(at);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
};
const bytes = await unpack();
const headLength = new DataView(bytes.buffer).getUint32(0, true);
const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + headLength)));
const column = {};
let position = 4 + headLength;
for (const [name, length] of head.columns) {
    const values = new (/^(figure|low|high)_/.test(name) ? Float64Array : Uint32Array)(length);
    for (let index = 0; index < length; index++) {
        let byte = bytes[position++], value = byte & 127, unit = 128;
        while (byte > 127) {
            byte = bytes[position++];
            value += (byte & 127) * unit;
            unit *= 128;
        }
        values[index] = value;
    }
    column[name] = values;
}
const { strings, figures } = head;
const [OWN, DEPENDENCY, STANDARD] = [0, 1, 2];
// Places (function, file, line, whose code); a tree of places; its boxes: the same tree by functions alone.
const place = { name: column.place_name, file: column.place_file, line: column.place_line, kind: column.place_kind };
const node = { parent: column.node_parent, place: column.node_place, box: column.node_box };
const firstNode = []; // of each box
for (let at = 0; at < node.box.length; at++) {
    node.parent[at] = at - node.parent[at];
    const distance = node.box[at];
    node.box[at] = firstNode.length - distance;
    if (distance === 0) firstNode.push(at);
}
const ofBoxes = of => {
    const list = new Uint32Array(firstNode.length);
    for (let at = 0; at < list.length; at++) list[at] = of(firstNode[at]);
    return list;
};
const whole = { parent: ofBoxes(at => node.box[node.parent[at]]), name: ofBoxes(at => place.name[node.place[at]]), kind: ofBoxes(at => place.kind[node.place[at]]) };
// The same without the standard library: what it did, its callers did.
const withoutStandard = () => {
    const [parent, name, kind, numbers] = [[0], [whole.name[0]], [whole.kind[0]], new Map()];
    const moved = new Uint32Array(whole.parent.length);
    for (let at = 1; at < moved.length; at++) {
        const above = moved[whole.parent[at]];
        if (whole.kind[at] === STANDARD) {
            moved[at] = above;
            continue;
        }
        const same = (above * strings.length + whole.name[at]) * 3 + whole.kind[at];
        let number = numbers.get(same);
        if (number === undefined) {
            numbers.set(same, number = parent.push(above) - 1);
            name.push(whole.name[at]);
            kind.push(whole.kind[at]);
        }
        moved[at] = number;
    }
    return { box: { parent, name, kind }, ofNodes: nodeBoxes.map(at => moved[at]) };
};
const nodeBoxes = node.box;
let box = whole;
// Whether a node is of its box's function: with hidden ones it can be of one that this called.
const isShown = at => place.name[node.place[at]] === box.name[node.box[at]] && place.kind[node.place[at]] === box.kind[node.box[at]];
// The node of a point's stack, of the function that decided to allocate, and of the innermost own function.
const point = { node: column.point_node, site: column.point_site, own: column.point_own, key: column.point_key };
for (let at = 0; at < point.node.length; at++) {
    point.site[at] = point.node[at] - point.site[at];
    point.own[at] = point.node[at] - point.own[at];
}
// What points are put together by: names of what a key's points belong to.
const key = Object.fromEntries(["site", "own", "function", "crate", "file", "type", "head", "own_head"].map(name => [name, column["key_" + name]]));
const points = point.node.length;
const values = Object.fromEntries(figures.map(figure => [figure.id, column["figure_" + figure.id]]));
const sum = list => { let all = 0; for (let index = 0; index < list.length; index++) all += list[index]; return all; };
const nameOf = at => strings[place.name[node.place[at]]];
const placeOf = at => {
    const here = node.place[at];
    const file = strings[place.file[here]];
    return file && (place.line[here] ? file + ":" + place.line[here] : file);
};

let figure = figures[0];
const current = () => values[figure.id];
