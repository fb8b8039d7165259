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
// Places (function, file, line); a tree of places; the same tree by functions alone.
const place = { name: indices("place_name"), file: indices("place_file"), line: indices("place_line"), foreign: indices("place_foreign") };
const node = { parent: parents("node_parent"), place: indices("node_place"), box: indices("node_box") };
const box = { parent: parents("box_parent"), name: indices("box_name"), foreign: indices("box_foreign") };
const point = { node: indices("point_node"), own: indices("point_own"), crate: indices("point_crate"), type: indices("point_type"), through: indices("point_through") };
const points = point.node.length;
const values = Object.fromEntries(figures.map(figure => [figure.id, column["figure_" + figure.id]]));
const sum = list => { let all = 0; for (let index = 0; index < list.length; index++) all += list[index]; return all; };
const nameOf = at => strings[place.name[node.place[at]]];
const placeOf = at => {
    const here = node.place[at];
    const file = strings[place.file[here]];
    return file && (place.line[here] ? file + ":" + place.line[here] : file);
};
const siteOf = index => {
    const through = strings[point.through[index]];
    const type = strings[point.type[index]];
    return { name: nameOf(point.own[index]), place: placeOf(point.own[index]), through: (through ? "through " + through : "") + (type ? " [" + type + "]" : "") };
};
const label = index => {
    const site = siteOf(index);
    const button = make("button", { type: "button", class: "link", text: site.name, onclick: () => showPoint(index) });
    return [button, make("span", { class: "place", text: (site.place ? " " + site.place : "") + (site.through ? " " + site.through : "") })];
};

let figure = figures[0];
const current = () => values[figure.id];
