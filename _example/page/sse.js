// events reads an event stream that came by fetch. An EventSource does this by
// itself; it is needed only for requests that an EventSource cannot make: a
// POST, or one with headers. (WHATWG HTML §9.2.6, without reconnection.)
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return; // what has no blank line after it is thrown away
      text += value;
      const blocks = text.split("\n\n"); // ssegin ends lines with LF alone
      text = blocks.pop();
      for (const block of blocks) {
        const event = parse(block);
        if (event.data !== undefined) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // has nothing to say but that it was aborted
  }
}

function parse(block) {
  const event = { type: "message" };
  for (const line of block.split("\n")) {
    const [, field, value = ""] = line.match(/^([^:]*)(?:: ?(.*))?$/s);
    if (field === "data") event.data = event.data === undefined ? value : event.data + "\n" + value;
    if (field === "event") event.type = value;
    if (field === "id") event.id = value;
  }
  return event;
}
