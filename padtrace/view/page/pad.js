// The pad that was read, put together from the sprites of its template.

export async function loadPad(description) {
  const sprites = await Promise.all(
    description.sprites.map(async (sprite) => ({
      ...sprite,
      images: await Promise.all(
        sprite.pictures.map(async (address) => {
          const image = new Image();
          image.src = address;
          await image.decode();
          return image;
        }),
      ),
    })),
  );
  return { width: description.width, height: description.height, sprites };
}

// isHeld(control): a stick counts where it is off its centre. axesOf(stick): [x, y] in [-1, 1], negative y is up.
export function drawPad(canvas, pad, isHeld, axesOf) {
  const context = canvas.getContext("2d");
  if (canvas.width !== pad.width || canvas.height !== pad.height) {
    canvas.width = pad.width;
    canvas.height = pad.height;
  }
  context.clearRect(0, 0, pad.width, pad.height);
  for (const sprite of pad.sprites) {
    const state = sprite.controls.reduce((bits, control, i) => bits | (isHeld(control) << i), 0);
    const image = sprite.images[sprite.choice[state]];
    const [x, y] = sprite.stick ? axesOf(sprite.stick) : [0, 0];
    const width = image.width * (1 - (1 - sprite.squeeze) * Math.abs(x));
    const height = image.height * (1 - (1 - sprite.squeeze) * Math.abs(y));
    const left = sprite.x + x * sprite.reach[0] + (image.width - width) / 2;
    const top = sprite.y + y * sprite.reach[1] + (image.height - height) / 2;
    context.drawImage(image, left, top, width, height);
  }
}
