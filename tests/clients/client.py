"""What an ordinary program does with OpenAI's Python library; prints what happened, a JSON document a line."""

import json
import sys

import openai

MODEL = "openclaw"


def tell(**said):
    print(json.dumps(said), flush=True)


def tell_error(error):
    tell(
        error=type(error).__name__,
        is_authentication_error=isinstance(error, openai.AuthenticationError),
        status=getattr(error, "status_code", None),
        code=getattr(error, "code", None),
        message=str(error),
    )


def chat(client, text):
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}]
    )
    tell(text=answer.choices[0].message.content)


def stream(client, text):
    events = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": text}], stream=True
    )
    for event in events:
        for choice in event.choices:
            if choice.delta.content:
                tell(piece=choice.delta.content)
            if choice.finish_reason:
                tell(finish_reason=choice.finish_reason)


def responses(client, text):
    tell(text=client.responses.create(model=MODEL, input=text).output_text)


def responses_stream(client, text):
    for event in client.responses.create(model=MODEL, input=text, stream=True):
        if event.type == "response.output_text.delta":
            tell(piece=event.delta)
        if event.type == "response.completed":
            tell(finish_reason="stop")


def models(client, _):
    tell(models=[model.id for model in client.models.list()])


ACTIONS = {
    "chat": chat,
    "stream": stream,
    "responses": responses,
    "responses-stream": responses_stream,
    "models": models,
}

try:
    ACTIONS[sys.argv[1]](openai.OpenAI(), sys.argv[2])
    tell(end="whole")
except Exception as error:  # noqa: BLE001
    tell_error(error)
