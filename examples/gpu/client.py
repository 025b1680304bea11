"""Uses the example as a program with the client of OpenAI would.

The first argument is the base URL of the small model, the second one an API key of the
example. It prints what it got as one JSON object.
"""

import asyncio
import importlib.metadata
import json
import sys
from typing import Any

import openai

MESSAGES: Any = [{"role": "user", "content": "hello"}]


def events(client: openai.OpenAI) -> list[str]:
    stream = client.chat.completions.create(
        model="small", messages=MESSAGES, max_tokens=5, stream=True
    )
    return [event.choices[0].delta.content or "" for event in stream]


def leave(client: openai.OpenAI) -> str:
    """Closes a stream of 1000 tokens after the first one."""
    with client.completions.create(
        model="small", prompt="hello", max_tokens=1000, stream=True
    ) as stream:
        return next(iter(stream)).choices[0].text


def stranger(base: str) -> str:
    client = openai.OpenAI(base_url=base, api_key="wrong")
    try:
        client.models.list()
    except openai.AuthenticationError as error:
        return str(error.code)
    return "served"


async def crowd(base: str, key: str) -> int:
    """Sends 12 requests at once and returns the number of whole answers."""
    async with openai.AsyncOpenAI(base_url=base, api_key=key) as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(
                    model="small",
                    messages=MESSAGES,
                    max_tokens=3,
                    extra_headers={"X-Class": "batch"},
                )
                for _ in range(12)
            )
        )
    return sum(a.usage is not None and a.usage.completion_tokens == 3 for a in answers)


def main() -> None:
    base, key = sys.argv[1:]
    with openai.OpenAI(base_url=base, api_key=key) as client:
        whole = client.chat.completions.create(
            model="small", messages=MESSAGES, max_tokens=2
        )
        seen = {
            "models": [model.id for model in client.models.list()],
            "whole": whole.choices[0].message.content,
            "events": events(client),
            "left": [leave(client) for _ in range(4)],
        }
    seen["crowd"] = asyncio.run(crowd(base, key))
    seen["stranger"] = stranger(base)
    seen["version"] = importlib.metadata.version("openai")
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
