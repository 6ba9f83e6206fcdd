// Returns a list of this page's accessibility problems by WCAG 2.2, level AA, as far as a script can check.
const problems = [];
const name = (element) => `${element.localName} "${(element.innerText || element.name || "").trim().slice(0, 30)}"`;
const isVisible = (element) => element.checkVisibility() && element.getClientRects().length > 0;
const all = (selector) => [...document.querySelectorAll(selector)].filter(isVisible);
const check = (holds, problem) => holds || problems.push(problem);

check(document.documentElement.lang === "en", "the page language is missing (3.1.1)");
check(document.title.length > 0, "the title is missing (2.4.2)");
for (const landmark of ["header", "main", "footer"]) {
  check(all(landmark).length === 1, `there must be exactly one ${landmark} (1.3.1)`);
}
check(all("h1").length === 1, "there must be exactly one h1 (1.3.1)");
// The scroll width exceeds the screen width if an element is too wide for a phone.
check(document.documentElement.scrollWidth <= screen.width, `the page is ${document.documentElement.scrollWidth} pixels wide (1.4.10)`);

const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
check(new Set(ids).size === ids.length, "an id is not unique");
for (const field of all("input")) {
  check(field.labels.length === 1, `${name(field)} has no label (3.3.2)`);
  const described = field.getAttribute("aria-describedby");
  check(!described || document.getElementById(described), `${name(field)} refers to a missing description`);
}
for (const control of all("button, nav a, a.button")) {
  check(control.innerText.trim() || control.ariaLabel, `${name(control)} has no name (4.1.2)`);
  const { width, height } = control.getBoundingClientRect();
  check(width >= 44 && height >= 44, `${name(control)} is ${width} by ${height} (2.5.5)`);
}

// Focusable elements show the focus (2.4.7). A modal dialog keeps it from the rest of the page.
const modal = document.querySelector("dialog:modal");
for (const control of all("a[href], button, input").filter((control) => !modal || modal.contains(control))) {
  control.focus({ focusVisible: true });
  check(document.activeElement === control, `${name(control)} cannot be focused (2.1.1)`);
  const { outlineStyle, outlineWidth } = getComputedStyle(control);
  const visible = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  check(visible, `${name(control)} does not show the focus (2.4.7)`);
  control.blur();
}

// Contrast of each text with its background (1.4.3), and of the borders of controls (1.4.11).
const channels = (color) => {
  const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
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
const backgroundOf = (element) => {
  for (let ancestor = element; ancestor; ancestor = ancestor.parentElement) {
    const { rgb, alpha } = channels(getComputedStyle(ancestor).backgroundColor);
    if (alpha === 1) return rgb;
    if (alpha !== 0) problems.push(`${name(ancestor)} has a translucent background`);
  }
  return [255, 255, 255];
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let seen = 0;
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !isVisible(element) || element.closest("script")) continue;
  seen += 1;
  const ratio = contrast(channels(getComputedStyle(element).color).rgb, backgroundOf(element));
  check(ratio >= 4.5, `${name(element)} has a contrast of ${ratio.toFixed(2)} (1.4.3)`);
}
check(seen > 3, "the page has too little text to check");
for (const control of all("input:not([type=checkbox]), button")) {
  const style = getComputedStyle(control);
  const border = channels(style.borderTopColor);
  const behind = backgroundOf(control.parentElement);
  const visible = border.alpha === 1 ? contrast(border.rgb, behind) : contrast(backgroundOf(control), behind);
  check(visible >= 3, `the border of ${name(control)} has a contrast of ${visible.toFixed(2)} (1.4.11)`);
}
return problems;
