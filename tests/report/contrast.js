// Every visible text of the page: its contrast with what lies behind it (WCAG 2, relative luminance) and its size on the screen in pixels.
() => {
  const channels = color => color.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = element => {
    for (; element; element = element.parentElement) {
      const color = channels(getComputedStyle(element).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.tagName === "title") continue;
    const box = document.createRange();
    box.selectNodeContents(node);
    if (!box.getBoundingClientRect().width) continue;
    const style = getComputedStyle(element), drawn = element.ownerSVGElement;
    const [dark, bright] = [luminance(channels(drawn ? style.fill : style.color)), luminance(behind(element))].sort((a, b) => a - b);
    const zoom = drawn ? element.getScreenCTM().a : 1;
    found.push({ text: node.data.trim().slice(0, 40), contrast: (bright + 0.05) / (dark + 0.05), size: parseFloat(style.fontSize) * zoom });
  }
  return found;
}
