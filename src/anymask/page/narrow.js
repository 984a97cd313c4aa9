// @ts-check
/** CSS pixels of width below which tools go under the thumb; css/phone.css says the same. */
export const NARROW = 760;
