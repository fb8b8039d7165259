// The data: a head in JSON, then columns of numbers, seven bits a byte.
const unpack = async () => {
    const text = atob($("data").textContent.trim());
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
    const values = new Float64Array(length);
    for (let index = 0; index < length; index++) {
        let value = 0, unit = 1, byte;
        do {
            byte = bytes[position++];
            value += (byte & 127) * unit;
            unit *= 128;
        } while (byte > 127);
        values[index] = value;
    }
    column[name] = values;
}
const { strings, figures } = head;
const indices = name => Int32Array.from(column[name]);
const parents = name => Int32Array.from(column[name], (distance, index) => index - distance);
const [OWN, DEPENDENCY, STANDARD] = [0, 1, 2];
// Places (function, file, line); a tree of places; the same tree by functions alone.
const place = { name: indices("place_name"), file: indices("place_file"), line: indices("place_line"), kind: indices("place_kind") };
const node = { parent: parents("node_parent"), place: indices("node_place"), box: indices("node_box") };
const box = { parent: parents("box_parent"), name: indices("box_name"), kind: indices("box_kind") };
// The node of a point's stack, of the function that decided to allocate, and of the innermost own function.
const point = { node: indices("point_node"), site: indices("point_site"), own: indices("point_own"), key: indices("point_key") };
// What points are put together by: names of what a key's points belong to.
const key = Object.fromEntries(["site", "own", "function", "crate", "file", "type", "head", "own_head"].map(name => [name, indices("key_" + name)]));
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
