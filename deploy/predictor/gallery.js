"use strict";
const about = JSON.parse(document.currentScript.dataset.about);
const at = id => document.getElementById(id);
const percent = area => `${(100 * area).toFixed(area < 0.0995 ? 1 : 0)} %`;
const css = id => `rgb(${about.palette.slice(3 * id, 3 * id + 3)})`;
const off = new Set([0]);  // the background, so that the picture shows around the face
const cards = [...document.querySelectorAll("script[data-row]")].map(script => {
  const element = at("card").content.cloneNode(true).firstChild;
  return { element, script, row: JSON.parse(script.dataset.row) };
});
const byElement = new Map(cards.map(card => [card.element, card]));

// Pixels: decoded when a card comes into view, dropped when it leaves.
async function show(stage, card) {
  const [picture, packed] = card.script.textContent.split(" ");
  const image = new Image();
  image.src = "data:image/webp;base64," + picture;
  image.alt = "";
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = card.row.thumbnail;
  stage.querySelectorAll("img, canvas").forEach(old => old.remove());
  stage.prepend(image, canvas);
  const bytes = Uint8Array.from(atob(packed), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  canvas.ids = new Uint8Array(await new Response(stream).arrayBuffer());
  paint(canvas);
}
function paint(canvas) {
  if (!canvas.ids) return;
  const colors = new Uint32Array(about.labels.map((_, id) => {
    const [red, green, blue] = about.palette.slice(3 * id, 3 * id + 3);
    return off.has(id) ? 0 : (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
  }));
  const image = new ImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  canvas.ids.forEach((id, index) => { pixels[index] = colors[id]; });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
const watch = new IntersectionObserver(entries => entries.forEach(({ target, isIntersecting }) => {
  const stage = target.querySelector(".stage");
  if (isIntersecting) show(stage, byElement.get(target));
  else stage.replaceChildren();
}), { rootMargin: "400px" });

// Classes: a switch in the legend, and one beside each picture in the detail.
function toggle(ids, visible) {
  ids.forEach(id => visible ? off.delete(id) : off.add(id));
  document.querySelectorAll(".class input").forEach(input => { input.checked = !off.has(+input.value); });
  document.querySelectorAll("canvas").forEach(paint);
}
function classSwitch(id) {
  const make = tag => document.createElement(tag);
  const [label, input, swatch, share] = ["label", "input", "i", "span"].map(make);
  Object.assign(input, { type: "checkbox", value: id, checked: !off.has(id) });
  input.addEventListener("change", () => toggle([id], input.checked));
  label.className = "class";
  label.style.setProperty("--color", css(id));
  share.className = "share";
  label.append(input, swatch, about.labels[id], share);
  return label;
}
const legend = about.labels.map((_, id) => classSwitch(id));
at("legend").append(...legend);
at("all").addEventListener("click", () => toggle([...about.labels.keys()], off.size > 0));

// Slider: one position for the whole page.
const sliders = document.querySelectorAll(".slider");
sliders.forEach(slider => slider.addEventListener("input", () => {
  document.documentElement.style.setProperty("--split", slider.value + "%");
  sliders.forEach(other => { other.value = slider.value; });
}));

// Search: what is shown, and the mean area of each class over it.
let shown = cards;
function search() {
  const wanted = at("search").value.trim().toLowerCase();
  shown = cards.filter(({ element, row }) => {
    element.hidden = !row.name.toLowerCase().includes(wanted);
    return !element.hidden;
  });
  const parsed = cards.length < about.total ? `${cards.length} parsed of ${about.total}` : `${about.total}`;
  at("count").textContent = wanted ? `${shown.length} of ${cards.length} pictures` : `${parsed} pictures`;
  legend.forEach((label, id) => {
    const sum = shown.reduce((total, { row }) => total + row.areas[id], 0);
    label.querySelector(".share").textContent = shown.length ? percent(sum / shown.length) : "";
    label.title = "mean area over the pictures shown";
  });
}
at("search").addEventListener("input", search);

// Detail: one picture large, with the area of each class.
let current = 0;
function open(index) {
  current = (index + shown.length) % shown.length;
  const { row } = shown[current];
  at("detail").querySelector("h2").textContent = row.name;
  at("detail").querySelector("p").textContent = row.size.join(" × ");
  const present = row.areas.map((area, id) => [area, id]).filter(([area]) => area > 0);
  at("areas").replaceChildren(...present.sort((a, b) => b[0] - a[0]).map(([area, id]) => {
    const label = classSwitch(id);
    label.style.setProperty("--area", `${100 * area / present[0][0]}% 100%`);
    label.querySelector(".share").textContent = percent(area);
    return label;
  }));
  show(at("detail").querySelector(".stage"), shown[current]);
  if (!at("detail").open) at("detail").showModal();
}
at("previous").addEventListener("click", () => open(current - 1));
at("next").addEventListener("click", () => open(current + 1));
at("close").addEventListener("click", () => at("detail").close());

for (const card of cards) {
  const { element, row } = card;
  element.querySelector("bdi").textContent = element.title = row.name;
  element.querySelector(".bar").append(...row.areas.flatMap((area, id) => {
    if (!id || area < 0.002) return [];
    const part = document.createElement("span");
    part.style.cssText = `width: ${100 * area}%; background: ${css(id)}`;
    part.title = `${about.labels[id]} ${percent(area)}`;
    return [part];
  }));
  element.addEventListener("click", () => open(shown.indexOf(card)));
  watch.observe(element);
}
at("cards").append(...cards.map(card => card.element));
search();
