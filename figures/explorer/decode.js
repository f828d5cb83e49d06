// Blocks of figures/explorer/blocks.py back to numbers: value = minimum + unit * q, NaN for no value.

const decoded = new Map();

function blockText(number) {
  const inline = document.getElementById(`block-${number}`);
  if (inline) return inline.textContent;
  if (!window.explorerBlocks) throw new Error("explorer-data.js, which holds the numbers, is not beside this page");
  return window.explorerBlocks[number];
}

async function inflate(text) {
  const characters = atob(text), bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function decode([number, minimum, unit, nBytes], nComponents) {
  const planes = await inflate(blockText(number));
  const length = planes.length / nBytes, modulus = 256 ** nBytes;
  const q = new Int32Array(length), values = new Float64Array(length);
  for (let i = 0; i < length; i++) {
    let folded = 0;
    for (let byte = 0; byte < nBytes; byte++) folded |= planes[byte * length + i] << (8 * byte);
    const difference = folded & 1 ? -(folded + 1) / 2 : folded / 2;
    q[i] = (difference + (i < nComponents ? 0 : q[i - nComponents]) + modulus) % modulus;
    values[i] = q[i] === modulus - 1 ? NaN : minimum + unit * q[i];
  }
  return values;
}

/** The values (step, component) of a block, or null where there is none. Those of one group are kept. */
async function values(block, nComponents) {
  if (!block) return null;
  if (!decoded.has(block[0])) decoded.set(block[0], await decode(block, nComponents));
  return decoded.get(block[0]);
}
