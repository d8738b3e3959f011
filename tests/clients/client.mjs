// What an ordinary program does with OpenAI's JavaScript library; prints what happened, a JSON document a line.

import OpenAI from "openai";

const MODEL = "openclaw";

function tell(said) {
  process.stdout.write(`${JSON.stringify(said)}\n`);
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
};

const [action, text] = process.argv.slice(2);
try {
  await actions[action](new OpenAI(), text);
  tell({ end: "whole" });
} catch (error) {
  tell({
    error: error.constructor.name,
    is_authentication_error: error instanceof OpenAI.AuthenticationError,
    status: error.status ?? null,
    code: error.code ?? null,
    message: error.message,
  });
}
