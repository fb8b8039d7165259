// Draws what is open.
function redraw() {
    drawFlame();
    drawSites();
    drawCallers();
    drawTimeline();
    drawWaste();
}
$("figure").addEventListener("change", () => {
    figure = figures.find(choice => choice.id === $("figure").value);
    search();
    redraw();
});
// report.html#waste opens at that view.
openTab(tabOfAddress());
// The pictures are as wide as there is room, which the details take some of.
let roomWas = $("tabs").clientWidth;
new ResizeObserver(() => {
    if ($("tabs").clientWidth === roomWas) return;
    roomWas = $("tabs").clientWidth;
    drawFlame();
    drawTimeline();
}).observe($("tabs"));
document.body.dataset.readyAfter = Math.round(performance.now() - started);
document.body.dataset.ready = Math.round(performance.now());
