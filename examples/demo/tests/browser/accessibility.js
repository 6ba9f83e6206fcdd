// Answers what is wrong with this page, as a list of sentences. By WCAG 2.2, level AA, as far as a script can see.
const wrong = [];
const name = (element) => `${element.localName} "${(element.innerText || element.name || "").trim().slice(0, 30)}"`;
const shown = (element) => element.checkVisibility() && element.getClientRects().length > 0;
const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
const check = (holds, what) => holds || wrong.push(what);

check(document.documentElement.lang === "en", "the language is not told (3.1.1)");
check(document.title.length > 0, "there is no title (2.4.2)");
for (const landmark of ["header", "main", "footer"]) {
  check(all(landmark).length === 1, `there is not one ${landmark} (1.3.1)`);
}
check(all("h1").length === 1, "there is not one heading of the first level (1.3.1)");
// The window itself grows with what is too wide on a telephone.
check(document.documentElement.scrollWidth <= screen.width, `it is ${document.documentElement.scrollWidth} wide (1.4.10)`);

const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
check(new Set(ids).size === ids.length, "an id is there twice");
for (const field of all("input")) {
  check(field.labels.length === 1, `${name(field)} has no label (3.3.2)`);
  const described = field.getAttribute("aria-describedby");
  check(!described || document.getElementById(described), `${name(field)} is described by nothing`);
}
for (const control of all("button, nav a, a.button")) {
  check(control.innerText.trim() || control.ariaLabel, `${name(control)} has no name (4.1.2)`);
  const { width, height } = control.getBoundingClientRect();
  check(width >= 44 && height >= 44, `${name(control)} is ${width} by ${height} (2.5.5)`);
}

// Whatever takes the focus shows it (2.4.7).
for (const control of all("a[href], button, input")) {
  control.focus({ focusVisible: true });
  check(document.activeElement === control, `${name(control)} takes no focus (2.1.1)`);
  const { outlineStyle, outlineWidth } = getComputedStyle(control);
  const visible = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  check(visible, `${name(control)} does not show the focus (2.4.7)`);
  control.blur();
}

// The contrast of every text with what is behind it (1.4.3), and of the edges of what can be used (1.4.11).
const channels = (colour) => {
  const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
  return { rgb: [red, green, blue], alpha };
};
const luminance = (rgb) => {
  const [red, green, blue] = rgb.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const contrast = (one, other) => {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const { rgb, alpha } = channels(getComputedStyle(at).backgroundColor);
    if (alpha === 1) return rgb;
    if (alpha !== 0) wrong.push(`${name(at)} has a ground that is half clear`);
  }
  return [255, 255, 255];
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let seen = 0;
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !shown(element) || element.closest("script")) continue;
  seen += 1;
  const ratio = contrast(channels(getComputedStyle(element).color).rgb, ground(element));
  check(ratio >= 4.5, `${name(element)} has a contrast of ${ratio.toFixed(2)} (1.4.3)`);
}
check(seen > 3, "there is no text");
for (const control of all("input:not([type=checkbox]), button")) {
  const style = getComputedStyle(control);
  const edge = channels(style.borderTopColor);
  const behind = ground(control.parentElement);
  const visible = edge.alpha === 1 ? contrast(edge.rgb, behind) : contrast(ground(control), behind);
  check(visible >= 3, `the edge of ${name(control)} has a contrast of ${visible.toFixed(2)} (1.4.11)`);
}
return wrong;
