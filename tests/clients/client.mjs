// What an ordinary program does with OpenAI's JavaScript library; prints what happened, a JSON document a line.

import OpenAI from "openai";

const MODEL = "openclaw";

function tell(said) {
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

// The classes of an error, from its own to the library's most general one.
function classesOf(error) {
  const classes = [];
  for (let kind = error.constructor; kind.name && kind !== Error; kind = Object.getPrototypeOf(kind)) classes.push(kind.name);
  return classes;
}

function tellError(error) {
  tell({
    error: classesOf(error),
    status: error.status ?? null,
    code: error.code ?? null,
    retry_after: error.headers?.get("retry-after") ?? null,
    message: error.message,
  });
}

const actions = {
  async chat(client, text) {
    const answer = await client.chat.completions.create({
      model: MODEL,
      messages: [{ role: "user", content: text }],
    });
    tell({ text: answer.choices[0].message.content });
  },

  async stream(client, text) {
    const events = await client.chat.completions.create({
      model: MODEL,
      messages: [{ role: "user", content: text }],
      stream: true,
    });
    for await (const event of events) {
      for (const choice of event.choices) {
        if (choice.delta.content) tell({ piece: choice.delta.content });
        if (choice.finish_reason) tell({ finish_reason: choice.finish_reason });
      }
    }
  },

  async responses(client, text) {
    const answer = await client.responses.create({ model: MODEL, input: text });
    tell({ text: answer.output_text });
  },

  async "responses-stream"(client, text) {
    const events = await client.responses.create({ model: MODEL, input: text, stream: true });
    for await (const event of events) {
      if (event.type === "response.output_text.delta") tell({ piece: event.delta });
      if (event.type === "response.completed") tell({ finish_reason: "stop" });
    }
  },

  async models(client) {
    const models = [];
    for await (const model of client.models.list()) models.push(model.id);
    tell({ models });
  },

  // Uses up what the key may do, says how that is refused, and asks once more as the library does by itself.
  async "too-often"(client) {
    const hasty = client.withOptions({ maxRetries: 0 });
    try {
      for (let count = 0; count < 100; count += 1) await hasty.models.list();
    } catch (error) {
      tellError(error);
    }
    const begun = performance.now();
    await client.models.list();
    tell({ waited: (performance.now() - begun) / 1000 });
  },
};

const [action, text, retries] = process.argv.slice(2);
try {
  await actions[action](new OpenAI(retries ? { maxRetries: Number(retries) } : {}), text);
  tell({ end: "whole" });
} catch (error) {
  tellError(error);
}
