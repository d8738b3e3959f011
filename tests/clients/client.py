"""What an ordinary program does with OpenAI's Python library; prints what happened, a JSON document a line."""

import json
import sys
import time

import openai

MODEL = "openclaw"


def tell(**said):
    print(json.dumps(said), flush=True)


def classes_of(error):
    """The classes of an error, from its own to the library's most general one."""
    classes = type(error).__mro__
    if isinstance(error, openai.OpenAIError):
        classes = [found for found in classes if issubclass(found, openai.OpenAIError)]
    return [found.__name__ for found in classes]


def tell_error(error):
    response = getattr(error, "response", None)
    tell(
        error=classes_of(error),
        status=getattr(error, "status_code", None),
        code=getattr(error, "code", None),
        retry_after=response.headers.get("retry-after") if response else None,
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


def too_often(client, _):
    """Uses up what the key may do, says how that is refused, and asks once more as the library does by itself."""
    hasty = client.with_options(max_retries=0)
    try:
        for _ in range(100):
            hasty.models.list()
    except openai.OpenAIError as error:
        tell_error(error)
    begun = time.monotonic()
    client.models.list()
    tell(waited=time.monotonic() - begun)


ACTIONS = {
    "chat": chat,
    "stream": stream,
    "responses": responses,
    "responses-stream": responses_stream,
    "models": models,
    "too-often": too_often,
}

action, text, *retries = sys.argv[1:]
try:
    options = {"max_retries": int(retries[0])} if retries else {}
    ACTIONS[action](openai.OpenAI(**options), text)
    tell(end="whole")
except Exception as error:  # noqa: BLE001
    tell_error(error)
