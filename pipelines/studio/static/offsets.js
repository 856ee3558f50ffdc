// Places in documents count Unicode code points; JavaScript counts halves of surrogate pairs.
export class Points {
  constructor(text) {
    this.text = text;
    this.plain = !/[\ud800-\udbff][\udc00-\udfff]/.test(text);
    this.length = this.plain ? text.length : [...text].length;
    this.point = 0;
    this.unit = 0;
  }

  // The index in the text of code point `point`; quickest when asked in rising order.
  at(point) {
    if (this.plain) return Math.min(point, this.length);
    if (point < this.point) this.point = this.unit = 0;
    while (this.point < point && this.unit < this.text.length) {
      this.unit += this.text.codePointAt(this.unit) > 0xffff ? 2 : 1;
      this.point += 1;
    }
    return this.unit;
  }

  slice(start, end) {
    const from = this.at(start);
    return this.text.slice(from, this.at(end));
  }
}

// The last place in `sorted` whose value, by `of`, is at most `wanted`; -1 where there is none.
export const before = (sorted, wanted, of = (one) => one) => {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(sorted[middle]) <= wanted) low = middle + 1;
    else high = middle;
  }
  return low - 1;
};
