// Texts by their bytes in UTF-8. Loaded with streams, whose places count them.

/** How many bytes of UTF-8 the character at a place of a text has. */
const width = (code: number): number => (code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4);

/** How many bytes a text has in UTF-8. */
export function byteLength(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.codePointAt(i)!;
    bytes += width(code);
    if (code > 0xffff) i++;
  }
  return bytes;
}

/** The text without its first bytes of UTF-8; undefined when these end within a character. */
export function behind(text: string, bytes: number): string | undefined {
  let i = 0;
  for (; bytes > 0 && i < text.length; i++) {
    const code = text.codePointAt(i)!;
    bytes -= width(code);
    if (code > 0xffff) i++;
  }
  return bytes ? undefined : text.slice(i);
}
